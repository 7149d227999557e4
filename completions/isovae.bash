# bash completion for isovae. Written by 'isovae help --bash'; do not edit.
_isovae() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    local command=${COMP_WORDS[1]} words=
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        words="help version demo fit report score encode decode sample traverse sweep stability drift audit export prune info"
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
        return
    fi
    case $before in
        help) words="demo fit report score encode decode sample traverse sweep stability drift audit export prune info" ;;
        --head) words="logvar logsigma variance sigma" ;;
        --layout) words="NCHW NHWC" ;;
        --loss-scale) words="sum mean half-sum half-mean" ;;
        --kl-scale) words="sum mean" ;;
        --preset) words="anomaly" ;;
        --noise) words="common feature" ;;
        --objective) words="conventional decomposed" ;;
        --scale) words="none standard minmax unit identity mixed" ;;
        --lr-schedule) words="cosine step constant linear" ;;
        --init) words="default multimodal" ;;
        --rows) words="auto all train validation" ;;
        --estimate) words="elbo posterior logdet laplace" ;;
        --missing) words="error row" ;;
        --loss) words="sse bce weighted:down weighted:up" ;;
        --activation) words="silu tanh relu leaky_relu elu gelu softplus sigmoid" ;;
    esac
    if [[ -z $words && $current == -* ]]; then
        case $command in
            demo) words="--output --seed --threads --isa --quiet --verbose --help" ;;
            fit) words="--output --preset --latent-dim --arch --activation --loss --noise --noise-floor --noise-start --beta --beta-floor --objective --scale --steps --epochs --quick --batch-size --lr --lr-schedule --lr-warmup --weight-decay --denoise --beta-start --kl-warmup --init --ensemble --init-from --validation --split-by --patience --resume --checkpoint-every --max-time --log --tensorboard --no-restart --columns --drop --categorical --id --missing --header --no-header --size --crop --grey --strict --memory --cache --seed --threads --isa --quiet --verbose --help" ;;
            report) words="--json --html --csv --split-by --rows --iwae --truth-density --labels --member --columns --drop --id --missing --header --no-header --size --crop --grey --strict --memory --cache --seed --threads --isa --quiet --verbose --help" ;;
            score) words="--output --estimate --fpr --explain --columns --drop --id --missing --header --no-header --size --crop --grey --strict --memory --cache --threads --isa --quiet --verbose --help" ;;
            encode) words="--output --member --isometric --sigma --columns --drop --id --missing --header --no-header --size --crop --grey --strict --memory --cache --threads --isa --quiet --verbose --help" ;;
            decode) words="--output --member --isometric --header --no-header --threads --isa --quiet --verbose --help" ;;
            sample) words="--output --member --count --noise --seed --threads --isa --quiet --verbose --help" ;;
            traverse) words="--output --member --row --latents --steps --range --columns --drop --id --missing --header --no-header --size --crop --grey --strict --memory --cache --threads --isa --quiet --verbose --help" ;;
            sweep) words="--output --json --html --latent-dim --arch --activation --loss --beta-floor --objective --scale --steps --quick --batch-size --lr --lr-warmup --weight-decay --init --validation --split-by --resume --no-restart --target --points --beta-range --steps --seeds --no-retrain --columns --drop --id --missing --header --no-header --size --crop --grey --strict --memory --cache --seed --threads --isa --quiet --verbose --help" ;;
            stability) words="--output --json --html --latent-dim --arch --activation --loss --noise --noise-floor --noise-start --beta --beta-floor --objective --scale --steps --epochs --quick --batch-size --lr --lr-schedule --lr-warmup --weight-decay --denoise --beta-start --kl-warmup --init --validation --split-by --patience --checkpoint-every --max-time --no-restart --seeds --match --same-split --runs --columns --drop --id --missing --header --no-header --size --crop --grey --strict --memory --cache --seed --threads --isa --quiet --verbose --help" ;;
            drift) words="--json --alpha --columns --drop --id --missing --header --no-header --size --crop --grey --strict --memory --cache --threads --isa --quiet --verbose --help" ;;
            audit) words="--json --html --csv --output --encoder --decoder --mu --logvar --z --reconstruction --head --width-first --means-only --layout --input-range --output-range --mean --std --loss --beta --loss-scale --kl-scale --iwae --columns --drop --id --missing --header --no-header --size --crop --grey --strict --memory --cache --seed --threads --isa --quiet --verbose --help" ;;
            export) words="--onnx --quiet --verbose --help" ;;
            prune) words="--output --columns --drop --id --missing --header --no-header --size --crop --grey --strict --memory --cache --threads --isa --quiet --verbose --help" ;;
            info) words="--json --member --quiet --verbose --help" ;;
        esac
    fi
    if [[ -n $words ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    elif [[ $before == toy && $current == : ]]; then
        COMPREPLY=(norm mix mixa ramp tri)
    elif [[ $before == : && ${COMP_WORDS[COMP_CWORD-2]} == toy ]]; then
        mapfile -t COMPREPLY < <(compgen -W "norm mix mixa ramp tri" -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    fi
}
complete -o filenames -F _isovae isovae
