/* Style and script of the page. Colours are variables, light and dark; text has a contrast of 4.5
 * or more on its ground. The page reads well without the script. */
#include "report/html.h"
#include "report/svg.h"

static const char light_colours[] =
    "--paper:#ffffff;--ink:#1c2127;--soft:#56606b;--grid:#e4e8ec;--rule:#d3d9df;--wash:#f5f7f9;"
    "--s1:#2b6ca3;--s2:#c4701f;--s3:#3a7d55;--alert:#b23a2a;--good:#2e6b47;--caution:#8a5a00;"
    "--caution-wash:#fdf6e7;--link:#235c8c;--over:#1c2127;color-scheme:light";

static const char dark_colours[] =
    "--paper:#161a1f;--ink:#e8ebee;--soft:#a3adb8;--grid:#2d343c;--rule:#3a424b;--wash:#1d2228;"
    "--s1:#6fa8dc;--s2:#e3a15c;--s3:#7cc297;--alert:#f08a77;--good:#8ccba5;--caution:#e8bf6a;"
    "--caution-wash:#2a2519;--link:#8fc0ec;--over:#0d1116;color-scheme:dark";

static const char *const rules[] = {
    "*{box-sizing:border-box}html{-webkit-text-size-adjust:100%}"
    "body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"
    "'Segoe UI',Roboto,Helvetica,Arial,sans-serif}"
    ".page{max-width:1180px;margin:0 auto;padding:0 20px 56px}"
    "a{color:var(--link)}:focus-visible{outline:2px solid var(--link);outline-offset:2px}"
    ".skip{position:absolute;left:-999px}.skip:focus{left:8px;top:8px;background:var(--paper);"
    "padding:6px 10px;z-index:2}",

    "header{padding:28px 0 "
    "4px}.kicker{display:flex;justify-content:space-between;align-items:center;"
    "gap:16px;color:var(--soft);font-size:14px;margin:0 0 14px}.kicker b{color:var(--ink);"
    "font-weight:600}h1{font-size:clamp(22px,3.1vw,31px);line-height:1.25;font-weight:650;"
    "letter-spacing:-.012em;margin:0 0 10px;max-width:34em;text-wrap:balance}"
    ".mood{border-left:5px solid "
    "var(--good);padding-left:16px}.mood.m1{border-color:var(--caution)}"
    ".mood.m2{border-color:var(--alert)}.sub{color:var(--soft);margin:0;overflow-wrap:anywhere}",

    "button{font:inherit;font-size:13px;color:var(--soft);background:none;border:1px solid "
    "var(--rule);border-radius:4px;padding:3px 10px;cursor:pointer}button:hover{color:var(--ink)}",

    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(155px,1fr));gap:1px;margin:"
    "26px "
    "0 0;background:var(--rule);border:1px solid var(--rule);border-radius:6px;overflow:hidden}"
    ".cards>div{background:var(--paper);padding:13px 16px 12px}.cards dt{font-size:13px;"
    "color:var(--soft)}.cards dd{margin:0}.cards .big{font-size:25px;font-weight:600;"
    "letter-spacing:-.01em;font-variant-numeric:tabular-nums;line-height:1.35;white-space:nowrap}."
    "cards .big i{"
    "font-style:normal;font-size:.72em;font-weight:400;color:var(--soft)}.cards .note{"
    "font-size:13px;color:var(--soft);line-height:1.4}",

    ".warn{margin:22px 0 0;padding:0;list-style:none}.warn li{background:var(--caution-wash);"
    "border-left:4px solid var(--caution);padding:9px 14px;margin:0 0 8px;border-radius:0 4px 4px "
    "0}"
    ".warn b{color:var(--caution)}.warn .note{background:var(--wash);border-color:var(--rule)}.warn"
    " .note b{color:var(--soft)}.calm{color:var(--soft);margin:20px 0 0}",

    "nav{margin:24px 0 0;font-size:15px;display:flex;flex-wrap:wrap;gap:4px 20px}"
    "section{margin-top:40px;padding-top:22px;border-top:1px solid var(--rule)}"
    "h2{font-size:21px;line-height:1.3;font-weight:650;letter-spacing:-.008em;margin:0 0 4px}"
    "h3{font-size:16px;font-weight:600;margin:0 0 8px;line-height:1.35}"
    ".lead{color:var(--soft);margin:0 0 18px;max-width:46em}",

    "figure{margin:0;min-width:0}figcaption{font-size:15px;max-width:40em;margin-top:8px}"
    ".draw{overflow:hidden}.draw svg{display:block;max-width:100%;height:auto}.narrow{display:none}"
    ".get{font-size:13px;color:var(--soft);margin:6px 0 0}.get a{margin-right:12px}"
    ".pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,500px),1fr));"
    "gap:34px 44px}.pair th{white-space:normal}.pair td,.pair th{padding:6px 8px}"
    ".pair table{min-width:min(100%,420px)}.spaced{margin-top:34px}",
    "@media(min-width:1000px){.beside{display:grid;grid-template-columns:minmax(0,680px) "
    "minmax(0,1fr);grid-template-rows:auto 1fr;gap:0 44px}.beside .draw,.beside h3{grid-column:1}"
    ".beside .says{grid-column:2;grid-row:1/span 2;align-self:center}}"
    "@media(max-width:640px){.wide{display:none}.narrow{display:block;max-width:430px}"
    ".narrow svg{width:100%}.page{padding:0 14px 40px}header{padding-top:18px}"
    "section{margin-top:32px}.cards{grid-template-columns:1fr 1fr}.cards>div{padding:11px 12px}"
    ".cards .big{font-size:21px}.pair table{font-size:13px;min-width:0}"
    ".pair td,.pair th{padding:6px 5px}.pair td.text{min-width:9em}}",

    ".scroll{overflow-x:auto;margin:0 -4px;padding:0 4px}table{border-collapse:collapse;"
    "font-size:14.5px;font-variant-numeric:tabular-nums;line-height:1.4}"
    "th{font-weight:600;text-align:right;vertical-align:bottom;padding:6px 10px;color:var(--soft);"
    "border-bottom:1.5px solid var(--soft);white-space:nowrap}td{text-align:right;padding:6px 10px;"
    "border-bottom:1px solid "
    "var(--grid);white-space:nowrap;vertical-align:baseline}sup{line-height:0}"
    "th.text,td.text{text-align:left}"
    "td.text{white-space:normal;min-width:16em}td .se,.pm{color:var(--soft)}.off "
    "td{color:var(--soft)}"
    "tbody th{color:var(--ink);border-bottom:1px solid var(--grid);vertical-align:baseline}"
    "th button{border:0;padding:0;font-size:inherit;font-weight:600;color:inherit}"
    "th[aria-sort=ascending] button::after{content:' \\25B2';font-size:9px}"
    "th[aria-sort=descending] button::after{content:' \\25BC';font-size:9px}"
    ".share{display:inline-block;width:64px;height:9px;margin-left:8px;background:var(--grid);"
    "border-radius:1px}.share i{display:block;height:9px;background:var(--s1);border-radius:1px}"
    "details{margin-top:14px}summary{cursor:pointer;color:var(--link)}"
    ".full{width:100%}.key{font-size:14px;color:var(--soft);margin:10px 0 0;max-width:56em}",

    ".profiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,350px),1fr));"
    "gap:30px 36px}.profiles h3 span{font-weight:400;color:var(--soft)}",

    ".step{position:sticky;top:0;background:var(--paper);padding:10px 0;z-index:1;display:flex;"
    "flex-wrap:wrap;align-items:center;gap:6px 16px;border-bottom:1px solid var(--grid)}"
    ".step input{flex:1 1 220px;max-width:520px;accent-color:var(--s1)}.step output{"
    "font-variant-numeric:tabular-nums;min-width:9em}"
    ".walk{display:grid;grid-template-columns:9.5em 76px 76px 76px minmax(0,1fr);gap:14px;"
    "align-items:start;padding:10px 0;border-bottom:1px solid var(--grid)}"
    ".far{list-style:none;display:flex;margin:3px 0 0;padding:0 calc(100%/26);font-size:11px;"
    "line-height:1.3;color:var(--soft);font-variant-numeric:tabular-nums}.far li{flex:1 1 0;"
    "min-width:0;text-align:center}.path{min-width:0}"
    ".walk .name{font-size:14px;line-height:1.4;color:var(--soft)}.walk .name b{color:var(--ink);"
    "font-size:15px}.tile,.strip,.map{image-rendering:pixelated;background-repeat:no-repeat;"
    "border-radius:2px;width:100%}"
    ".pixels{image-rendering:pixelated;width:100%;height:auto;max-width:900px;display:block;border-"
    "radius:2px}"
    "@media(max-width:640px){.walk{grid-template-columns:60px 60px 60px minmax(0,1fr)}.walk .path{"
    "grid-column:1/-1;order:3}.walk .name{order:2;grid-column:4;grid-row:1}.far{font-size:8px}}",

    "footer{margin-top:48px;padding-top:16px;border-top:1px solid var(--rule);font-size:13px;"
    "color:var(--soft)}footer dl{display:grid;grid-template-columns:max-content "
    "minmax(0,1fr);gap:2px "
    "16px;margin:0 0 12px}footer dd{margin:0;overflow-wrap:anywhere}code{font-family:ui-monospace,"
    "SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;font-size:.94em}"
    "@media print{.step,nav,.get,button{display:none}section{break-inside:avoid}}",
};

void iv_html_style(iv_text *out)
{
    iv_text_printf(out,
                   ":root{%s}@media(prefers-color-scheme:dark){:root:not([data-theme=light]){%s}}"
                   ":root[data-theme=dark]{%s}",
                   light_colours, dark_colours, dark_colours);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) iv_text_puts(out, rules[i]);
    iv_svg_page_rules(out);
}

/* Theme button, sorting, slider. */
static const char script[] =
    "(function(){'use strict';var root=document.documentElement;"
    "var t=document.getElementById('theme');if(t){t.hidden=false;t.addEventListener('click',"
    "function(){var d=root.getAttribute('data-theme')||(matchMedia('(prefers-color-scheme: dark)')"
    ".matches?'dark':'light');root.setAttribute('data-theme',d==='dark'?'light':'dark');});}"
    "document.querySelectorAll('table.sort').forEach(function(table){var head=table.tHead.rows[0]"
    ".cells,body=table.tBodies[0];Array.prototype.forEach.call(head,function(th,i){"
    "var b=document.createElement('button');b.type='button';b.textContent=th.textContent;"
    "th.textContent='';th.appendChild(b);b.addEventListener('click',function(){"
    "var up=th.getAttribute('aria-sort')==='descending';Array.prototype.forEach.call(head,"
    "function(o){o.removeAttribute('aria-sort');});th.setAttribute('aria-sort',up?'ascending':"
    "'descending');var rows=Array.prototype.slice.call(body.rows);rows.sort(function(a,b){"
    "var x=a.cells[i].getAttribute('data-v'),y=b.cells[i].getAttribute('data-v'),c;"
    "if(x===null||y===null)c=a.cells[i].textContent.localeCompare(b.cells[i].textContent);"
    "else c=(x===''?-Infinity:+x)-(y===''?-Infinity:+y);return (up?1:-1)*(c||0);});"
    "rows.forEach(function(r){body.appendChild(r);});});});});"
    "document.querySelectorAll('.walks').forEach(function(w){var s=w.querySelector('input'),"
    "o=w.querySelector('output'),n=+s.max;function show(){w.style.setProperty('--k',s.value);"
    "var v=6*s.value/n-3;o.textContent=(v<0?'\\u2212':'+')+Math.abs(v).toFixed(1)+' SD of y';}"
    "s.addEventListener('input',show);w.querySelector('.step').hidden=false;show();});})();";

void iv_html_script(iv_text *out)
{
    iv_text_puts(out, script);
}
