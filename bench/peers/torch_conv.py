"""The networks for pictures in PyTorch, and the works on them.

  default    channels first, autograd, torch.optim.Adam as it comes; Jacobians by vmap and jacfwd
  tuned      the faster memory format of two (channels last, channels first), fused Adam; Jacobians
             by tangents by hand (one convolution for the tangents of all rows), by vmap of jvp or by
             double backward, in the faster memory format, whichever proves fastest
  compiled   the step, or tangents by hand, under torch.compile
"""

import sys

import torch
import torch.nn.functional as F
from torch import nn

sys.dont_write_bytecode = True
import common  # noqa: E402
from common import Work, works  # noqa: E402
from torch_steps import CompiledStepper, DefaultStepper  # noqa: E402

try:  # PyTorch 2
    from torch.func import jacfwd, jvp, vmap
except ImportError:
    from functorch import jacfwd, jvp, vmap

FUSED = int(torch.__version__.split(".")[0]) >= 2
FLOOR = 2.0 ** -20  # effective = raw ** 2 + FLOOR
FORMATS = (torch.channels_last, torch.contiguous_format)


class GDN(nn.Module):
    """The parameters are raw, as isovae stores and trains them."""

    def __init__(self, channels, inverse):
        super().__init__()
        self.inverse = inverse
        self.beta = nn.Parameter(torch.ones(channels))
        self.gamma = nn.Parameter(torch.eye(channels))

    def mix(self, x, beta):
        return F.conv2d(x, (self.gamma ** 2 + FLOOR)[:, :, None, None], beta)

    def forward(self, x):
        s = self.mix(x * x, self.beta ** 2 + FLOOR)
        return x * (torch.sqrt(s) if self.inverse else torch.rsqrt(s))


class Planes(nn.Module):
    def __init__(self, channels, side):
        super().__init__()
        self.shape = (channels, side, side)

    def forward(self, x):
        return x.reshape((len(x),) + self.shape)


class ConvVAE(nn.Module):
    """Modules have isovae's names. x is a batch of pictures, N x C x H x W."""

    def __init__(self, net):
        super().__init__()
        sides, n, gdn = works.conv_sides(net), net["heads"], net["norm"] == "gdn"
        encoder, last, layers = [], net["channels"], len(net["layers"])

        def norm(part, prefix, channels, number):
            if gdn:
                part.append(("gdn%d" % number, GDN(channels, prefix == "dec")))
            else:
                part.append(("norm%d" % number, nn.BatchNorm2d(channels)))
                part.append(("act%d" % number, nn.LeakyReLU(0.2)))

        for i, (kernel, pad, channels) in enumerate(net["layers"]):
            encoder.append(("conv%d" % (i + 1), nn.Conv2d(last, channels, kernel, 2, pad, bias=gdn)))
            norm(encoder, "enc", channels, i + 1)
            last = channels
        features = flat = last * sides[-1] ** 2
        encoder.append(("flat", nn.Flatten()))
        decoder = []
        if net["dense"]:
            encoder += [("fc", nn.Linear(flat, net["dense"])), ("act", nn.Softplus())]
            decoder += [("fc", nn.Linear(n, net["dense"])), ("act", nn.Softplus())]
            features = net["dense"]
        decoder.append(("spread", nn.Linear(features if net["dense"] else n, flat)))
        decoder.append(("planes", Planes(last, sides[-1])))
        for i in reversed(range(layers)):
            kernel, pad, channels = net["layers"][i]
            norm(decoder, "dec", channels, layers - i)
            to = net["layers"][i - 1][2] if i else net["channels"]
            more = sides[i] + 2 * pad - 2 * (sides[i + 1] - 1) - kernel
            decoder.append(("conv%d" % (layers - i), nn.ConvTranspose2d(
                channels, to, kernel, 2, pad, more, bias=gdn or i == 0)))
        self.layers = nn.ModuleDict({"enc": nn.ModuleDict(encoder), "dec": nn.ModuleDict(decoder)})
        self.heads = nn.ModuleDict({"mu": nn.Linear(features, n), "logvar": nn.Linear(features, n)})

    def decoder(self, z):
        for module in self.layers["dec"].values():
            z = module(z)
        return z

    def forward(self, x, eps=None):
        for module in self.layers["enc"].values():
            x = module(x)
        mu, logvar = self.heads["mu"](x), self.heads["logvar"](x)
        if eps is None:
            eps = torch.randn_like(mu)
        return self.decoder(mu + torch.exp(0.5 * logvar) * eps), mu, logvar

    @staticmethod
    def distortion(out, x):
        return ((out - x) ** 2).sum((1, 2, 3))


def shared_model(net, arrays):
    model = ConvVAE(net)
    with torch.no_grad():
        for name, p in model.named_parameters():
            name = name.replace("layers.", "").replace("heads.", "enc.")
            p.copy_(torch.from_numpy(arrays[name].copy()).reshape(p.shape))
    return model


def pictures(net, rows):
    """Channels lie last in isovae's rows."""
    side = net["side"]
    x = torch.from_numpy(rows.copy()).reshape(len(rows), side, side, net["channels"])
    return x.permute(0, 3, 1, 2)


# ---- a step ----


class TunedStepper(DefaultStepper):
    def make_optimizer(self, model):
        if FUSED:
            return torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
        return torch.optim.Adam(model.parameters(), lr=1e-3, foreach=True)


STEPPERS = {"default": DefaultStepper, "tuned": TunedStepper, "compiled": CompiledStepper}


class Step(Work):
    timed_seconds = 0

    def __init__(self, variant, folder, name):
        self.net = works.CONV_NETS[name]
        self.variant = variant
        self.about, self.arrays = common.load(folder, name)
        self.eps = torch.from_numpy(self.arrays["eps"].copy())
        self.number, best = 0, None
        if variant != "tuned":
            self.take(FORMATS[1])
            return
        for layout in FORMATS:
            self.take(layout)
            self.once()
            took = min(common._time(self, 1) for _ in range(2))
            if best is None or took < best[0]:
                best = (took, layout)
        self.take(best[1])

    def take(self, layout):
        self.layout = layout
        self.x = pictures(self.net, self.arrays["x"]).contiguous(memory_format=layout)
        self.stepper = self.make()

    def make(self):
        model = shared_model(self.net, self.arrays).to(memory_format=self.layout)
        return STEPPERS[self.variant](model, self.net["batch"])

    def batch(self, number):
        size = self.net["batch"]
        start = number % (len(self.x) // size) * size
        return self.x[start:start + size]

    def once(self):
        self.stepper.step(self.batch(self.number), self.net["rate"], self.about["beta"])
        self.number += 1

    def check(self):
        s, x, beta = self.make(), self.batch(0), self.about["beta"]
        self.stepper = s  # what is timed goes on from here: compiling takes long
        answer = {"loss": s.value(x, beta, self.eps), "gradient": s.gradient(x, beta, self.eps)}
        for _ in range(3):
            s.step(x, self.net["rate"], beta, self.eps)
        answer["loss_after_3"] = s.value(x, beta, self.eps)
        self.once()  # with noise of its own it may compile once more
        return answer


# ---- Jacobians: J^T as (rows, n, features) ----


def gram_of(j):
    return torch.bmm(j, j.transpose(1, 2))


def gram_jacfwd(model, z):
    j = vmap(jacfwd(lambda row: model.decoder(row.unsqueeze(0)).reshape(-1)))(z)
    return torch.bmm(j.transpose(1, 2), j)


def gram_jvp(model, z):
    def along(e):
        return jvp(model.decoder, (z,), (e.expand_as(z),))[1]

    return gram_of(vmap(along, out_dims=1)(torch.eye(z.shape[1])).flatten(2))


def gram_double_backward(model, z):
    rows, n = z.shape
    with torch.enable_grad():
        many = z.repeat_interleave(n, 0).requires_grad_()
        out = model.decoder(many)
        v = torch.zeros_like(out, requires_grad=True)
        back, = torch.autograd.grad(out, many, v, create_graph=True)
        j, = torch.autograd.grad(back, v, torch.eye(n).repeat(rows, 1))
    return gram_of(j.reshape(rows, n, -1))


def gram_by_hand(model, z):
    """Tangents of all rows stand in one batch, row by row."""
    rows, n = z.shape
    x, t = z, torch.eye(n).repeat(rows, 1)

    def scale(t, by):
        return (t.reshape((rows, n) + by.shape[1:]) * by.unsqueeze(1)).reshape(t.shape)

    for m in model.layers["dec"].values():
        if isinstance(m, nn.Linear):
            t = torch.mm(t, m.weight.t())
        elif isinstance(m, nn.ConvTranspose2d):
            t = F.conv_transpose2d(t, m.weight, None, m.stride, m.padding, m.output_padding)
        elif isinstance(m, nn.Softplus):
            t = scale(t, torch.sigmoid(x))
        elif isinstance(m, GDN):
            r = torch.sqrt(m.mix(x * x, m.beta ** 2 + FLOOR))
            t = scale(t, r) + scale(m.mix(scale(t, x), None), x / r)
            x = x * r
            continue
        else:
            t = m(t)
        x = m(x)
    return gram_of(t.reshape(rows, n, -1))


class Jacobian(Work):
    """The fastest of the ways that the variant has, tried on a few rows."""

    timed_seconds = 0
    share = works.CONV_PEER_ROWS / works.CONV_JACOBIAN_ROWS

    def __init__(self, variant, folder, name):
        _, arrays = common.load(folder, name)
        net = works.CONV_NETS[name]
        self.compiled = variant == "compiled"
        ways, layouts, chunks = [gram_jacfwd], FORMATS[1:], (1, 5)
        if variant == "tuned":
            ways, layouts = [gram_by_hand, gram_jvp, gram_double_backward], FORMATS
        if self.compiled:
            ways, chunks = [torch.compile(gram_by_hand, dynamic=False)], (1,)
        z, self.best = torch.from_numpy(arrays["z"].copy()), None
        for way in ways:
            for layout in layouts:
                model = shared_model(net, arrays).to(memory_format=layout)
                self.try_out(z[:2], 2, way, model)
                print("%s: %.0f ms a row" % (getattr(way, "__name__", way), 1e3 * self.took),
                      file=sys.stderr)
        for size in chunks:
            self.try_out(z[:size], size, *self.best[2:])
        _, self.size, way, self.model = self.best
        self.function = way
        print("Jacobian: %s, %d rows at once" % (getattr(way, "__name__", way), self.size),
              file=sys.stderr)
        self.rows, self.few = z[:works.CONV_PEER_ROWS], z[:works.CONV_CHECK_ROWS]

    def try_out(self, rows, size, way, model):
        self.rows, self.size, self.function, self.model = rows, size, way, model
        if self.compiled:
            self.once()
        self.took = common._time(self, 1) / size
        if self.best is None or self.took < self.best[0]:
            self.best = (self.took, size, way, model)

    def once(self):
        with torch.no_grad():
            self.result = [self.function(self.model, c) for c in self.rows.split(self.size)]

    def check(self):
        all_rows, self.rows = self.rows, self.few
        self.once()
        self.rows = all_rows
        gram = torch.cat(self.result).double()
        return {"trace": float(gram.diagonal(dim1=1, dim2=2).sum(1).mean()),
                "norm": float(gram.square().sum((1, 2)).mean().sqrt())}


def factories(variant, folder):
    made = {name + "-step": lambda name=name: Step(variant, folder, name)
            for name in works.CONV_NETS}
    made["conv64-jacobian"] = lambda: Jacobian(variant, folder, "conv64")
    return made
