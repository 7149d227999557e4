"""PyTorch as a contender: torch_peer.py VARIANT THREADS FOLDER.

  default    nn.Module, autograd, torch.optim.Adam as it comes, Jacobians by vmap and jacfwd
  tuned      no autograd: forward and backward by hand into buffers that are kept, all parameters in
             one vector under one (fused) Adam, tangents by hand as matrix products
  compiled   the functions under torch.compile, with the fused Adam
"""

import sys

import torch
import torch.nn.functional as F
from torch import nn

sys.dont_write_bytecode = True
import common  # noqa: E402
import torch_conv  # noqa: E402
from common import Work, works  # noqa: E402
from torch_steps import CompiledStepper, DefaultStepper, kl_of  # noqa: E402

try:  # PyTorch 2
    from torch.func import jacfwd, vmap
except ImportError:
    from functorch import jacfwd, vmap

aten = torch.ops.aten
FUSED = hasattr(torch, "_fused_adam_") and int(torch.__version__.split(".")[0]) >= 2
ACTIVATION = {"silu": nn.SiLU, "relu": nn.ReLU}


def sequence(sizes, activation, last):
    layers = []
    for i, (a, b) in enumerate(zip(sizes[:-1], sizes[1:])):
        layers.append(nn.Linear(a, b))
        if i < len(sizes) - 2 or last:
            layers.append(ACTIVATION[activation]())
    return nn.Sequential(*layers)


class VAE(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.loss = net["loss"]
        self.encoder = sequence(net["encoder"], net["activation"], True)
        self.mu = nn.Linear(net["encoder"][-1], net["heads"])
        self.logvar = nn.Linear(net["encoder"][-1], net["heads"])
        self.decoder = sequence(net["decoder"], net["activation"], False)

    def encode(self, x):
        h = self.encoder(x)
        return self.mu(h), self.logvar(h)

    def forward(self, x, eps=None):
        mu, logvar = self.encode(x)
        if eps is None:
            eps = torch.randn_like(mu)
        return self.decoder(mu + torch.exp(0.5 * logvar) * eps), mu, logvar

    def distortion(self, out, x):
        if self.loss == "bce":
            return F.binary_cross_entropy_with_logits(out, x, reduction="none").sum(1)
        return ((out - x) ** 2).sum(1)

    def linears(self):
        return ([m for m in self.encoder if isinstance(m, nn.Linear)] + [self.mu, self.logvar] +
                [m for m in self.decoder if isinstance(m, nn.Linear)])


def shared_model(net, arrays):
    model = VAE(net)
    encoder, heads, decoder = common.dense_names(net)
    with torch.no_grad():
        for linear, name in zip(model.linears(), encoder + heads + decoder):
            linear.weight.copy_(torch.from_numpy(arrays[name + ".weight"].copy()))
            linear.bias.copy_(torch.from_numpy(arrays[name + ".bias"].copy()).reshape(-1))
    return model


# ---- one step by hand ----


class FlatAdam:
    """Adam over one vector, in place."""

    def __init__(self, w, g):
        self.w, self.g = w, g
        self.m, self.v = torch.zeros_like(w), torch.zeros_like(w)
        self.work = torch.empty_like(w)
        self.count = 0
        self.step_tensor = torch.zeros(())

    def step(self, rate):
        if FUSED:
            self.step_tensor += 1
            torch._fused_adam_([self.w], [self.g], [self.m], [self.v], [], [self.step_tensor],
                               lr=rate, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=1e-8,
                               amsgrad=False, maximize=False)
            return
        self.count += 1
        self.m.lerp_(self.g, 0.1)
        self.v.mul_(0.999).addcmul_(self.g, self.g, value=0.001)
        torch.sqrt(self.v, out=self.work)
        c1, c2 = 1 - 0.9 ** self.count, 1 - 0.999 ** self.count
        self.work.mul_(c2 ** -0.5).add_(1e-8)
        self.w.addcdiv_(self.m, self.work, value=-rate / c1)


class TunedStepper:
    """Everything by hand: `layers` of weight, bias and their gradients are views of two vectors."""

    def __init__(self, model, batch, weight=1.0):
        self.model, self.weight, self.batch = model, weight, batch
        self.silu = any(isinstance(m, nn.SiLU) for m in model.modules())
        linears = model.linears()
        hidden = len([m for m in model.encoder if isinstance(m, nn.Linear)])
        mu, logvar = linears[hidden:hidden + 2]
        parts = [(l.weight, l.bias) for l in linears[:hidden]]
        parts.append((torch.cat([mu.weight, logvar.weight]), torch.cat([mu.bias, logvar.bias])))
        parts += [(l.weight, l.bias) for l in linears[hidden + 2:]]
        self.split = hidden + 1
        size = sum(w.numel() + b.numel() for w, b in parts)
        self.w, self.g = torch.empty(size), torch.zeros(size)
        self.layers, at = [], 0
        with torch.no_grad():
            for w, b in parts:
                views = []
                for flat in (self.w, self.g):
                    views += [flat[at:at + w.numel()].view(w.shape),
                              flat[at + w.numel():at + w.numel() + b.numel()]]
                views[0].copy_(w)
                views[1].copy_(b)
                self.layers.append(views)
                at += w.numel() + b.numel()
        self.transposed = [w.t() for w, _, _, _ in self.layers]
        self.pre = [torch.empty(batch, len(b)) for _, b, _, _ in self.layers]
        self.post = [torch.empty(batch, len(b)) for _, b, _, _ in self.layers]
        self.n = len(mu.bias)
        self.eps = torch.empty(batch, self.n)
        self.sigma = torch.empty(batch, self.n)
        self.z = torch.empty(batch, self.n)
        self.heads_g = torch.empty(batch, 2 * self.n)
        self.adam = FlatAdam(self.w, self.g)

    def activate(self, i):
        if self.silu:
            return aten.silu.out(self.pre[i], out=self.post[i])
        return torch.clamp_min(self.pre[i], 0, out=self.post[i])

    def slope(self, i, g):
        if self.silu:
            return aten.silu_backward(g, self.pre[i])
        return aten.threshold_backward(g, self.pre[i], 0)

    def run(self, first, last, x, linear_end):
        """Layers first..last-1 on x; the last one without activation where linear_end."""
        for i in range(first, last):
            torch.addmm(self.layers[i][1], x, self.transposed[i], out=self.pre[i])
            x = self.pre[i] if linear_end and i == last - 1 else self.activate(i)
        return x

    def back(self, first, last, g, x, to_input):
        """g: gradient at the output of layer last-1 before its activation."""
        for i in range(last - 1, first - 1, -1):
            below = self.post[i - 1] if i > first else x
            torch.mm(g.t(), below, out=self.layers[i][2])
            torch.sum(g, 0, out=self.layers[i][3])
            if i > first:
                g = self.slope(i - 1, torch.mm(g, self.layers[i][0]))
            elif to_input:
                g = torch.mm(g, self.layers[i][0])
        return g

    def forward_backward(self, x, beta, eps):
        n, batch, split, layers = self.n, self.batch, self.split, self.layers
        heads = self.run(0, split, x, True)
        mu, logvar = heads[:, :n], heads[:, n:]
        if eps is None:
            eps = self.eps.normal_()
        torch.exp(0.5 * logvar, out=self.sigma)
        torch.addcmul(mu, self.sigma, eps, out=self.z)
        out = self.run(split, len(layers), self.z, True)
        if self.model.loss == "bce":
            distortion = F.binary_cross_entropy_with_logits(out, x, reduction="sum") / batch
            g = torch.sigmoid(out).sub_(x).mul_(1.0 / (batch * beta))
        else:
            g = out - x
            distortion = g.reshape(-1).dot(g.reshape(-1)) * (self.weight / batch)
            g.mul_(2 * self.weight / (batch * beta))
        variance = self.sigma * self.sigma
        kl = 0.5 * (mu * mu + variance - logvar - 1).sum() / batch
        g_z = self.back(split, len(layers), g, self.z, True)
        torch.add(g_z, mu, alpha=1.0 / batch, out=self.heads_g[:, :n])
        g_logvar = self.heads_g[:, n:]
        torch.mul(g_z, eps, out=g_logvar).mul_(self.sigma).add_(variance.sub_(1), alpha=1.0 / batch)
        g_logvar.mul_(0.5)
        self.back(0, split, self.heads_g, x, False)
        return distortion, kl

    def step(self, x, rate, beta, eps=None):
        with torch.no_grad():
            terms = self.forward_backward(x, beta, eps)
            self.adam.step(rate)
        return terms

    def value(self, x, beta, eps):
        with torch.no_grad():
            d, kl = DefaultStepper.terms(Weighted(self.finish(), self.weight), x, eps)
            return float(d / beta + kl)

    def gradient(self, x, beta, eps):
        with torch.no_grad():
            self.forward_backward(x, beta, eps)
            return float(self.g.norm())

    def snapshot(self):
        return self.w.clone()

    def restore(self, state):
        self.w.copy_(state)

    def finish(self):
        """The weights back in the model."""
        linears, hidden, n = self.model.linears(), self.split - 1, self.n
        with torch.no_grad():
            for i, (w, b, _, _) in enumerate(self.layers):
                if i == hidden:
                    for j, half in enumerate((slice(0, n), slice(n, 2 * n))):
                        linears[hidden + j].weight.copy_(w[half])
                        linears[hidden + j].bias.copy_(b[half])
                else:
                    to = linears[i if i < hidden else i + 1]
                    to.weight.copy_(w)
                    to.bias.copy_(b)
        return self.model


class Weighted:
    """What DefaultStepper.terms reads."""

    def __init__(self, model, weight):
        self.model, self.weight = model, weight


STEPPERS = {"default": DefaultStepper, "tuned": TunedStepper, "compiled": CompiledStepper}


class Step(Work):
    def __init__(self, variant, folder, name):
        self.net = works.NETS[name]
        self.about, arrays = common.load(folder, name)
        self.x = torch.from_numpy(arrays["x"].copy())
        self.eps = torch.from_numpy(arrays["eps"].copy())
        self.make = lambda: STEPPERS[variant](shared_model(self.net, arrays), self.net["batch"])
        self.stepper = self.make()
        self.number = 0

    def batch(self, number):
        size = self.net["batch"]
        start = number % (len(self.x) // size) * size
        return self.x[start:start + size]

    def once(self):
        self.stepper.step(self.batch(self.number), 1e-3, self.about["beta"])
        self.number += 1

    def check(self):
        s, x, beta = self.make(), self.batch(0), self.about["beta"]
        answer = {"loss": s.value(x, beta, self.eps), "gradient": s.gradient(x, beta, self.eps)}
        for _ in range(3):
            s.step(x, 1e-3, beta, self.eps)
        answer["loss_after_3"] = s.value(x, beta, self.eps)
        return answer


# ---- Jacobians ----


def metric_diagonal(model, out):
    """G at the decoder's output; None is the identity."""
    if model.loss == "bce":
        p = torch.sigmoid(out)
        return p * (1 - p) / 2
    return None


def jacobian_default(model, z):
    """J as (rows, d, n), and G."""
    return vmap(jacfwd(model.decoder))(z), metric_diagonal(model, model.decoder(z))


def jacobian_by_hand(model, z):
    """J^T as (rows, n, d), and G: tangents stand beside their rows, one product for all of them."""
    tangent, x = None, z
    rows, n = z.shape
    for m in model.decoder:
        if isinstance(m, nn.Linear):
            w = m.weight
            x = F.linear(x, w, m.bias)
            if tangent is None:
                tangent = w.t().unsqueeze(0)  # the same for all rows until the first slope
            else:
                tangent = torch.mm(tangent.reshape(rows * n, -1), w.t()).view(rows, n, -1)
        else:
            if isinstance(m, nn.SiLU):
                s = torch.sigmoid(x)
                slope = s * (1 + x * (1 - s))
                x = x * s
            else:
                slope = (x > 0).to(x.dtype)
                x = x * slope
            tangent = tangent * slope.unsqueeze(1)
    return tangent, metric_diagonal(model, x), x


def gram_default(model, z):
    j, g = jacobian_default(model, z)
    return torch.einsum("bij,bik->bjk", j, j if g is None else j * g.unsqueeze(2))


def gram_by_hand(model, z):
    j, g, _ = jacobian_by_hand(model, z)
    return torch.bmm(j if g is None else j * g.unsqueeze(1), j.transpose(1, 2))


def e6(model, beta, x, mu, logvar, out, diagonal):
    coding = (logvar.exp() * diagonal).sum(1)
    score = -(model.distortion(out, x) + coding) / beta - kl_of(mu, logvar)
    return score - common.log_pi_beta(x.shape[1], beta) if model.loss == "sse" else score


def score_default(model, beta, x):
    mu, logvar = model.encode(x)
    j, g = jacobian_default(model, mu)
    diagonal = (j * j if g is None else j * j * g.unsqueeze(2)).sum(1)
    return e6(model, beta, x, mu, logvar, model.decoder(mu), diagonal)


def score_by_hand(model, beta, x):
    mu, logvar = model.encode(x)
    j, g, out = jacobian_by_hand(model, mu)
    if g is None:
        diagonal = (j * j).sum(2)
    else:
        diagonal = torch.bmm(j * j, g.unsqueeze(2)).squeeze(2)
    return e6(model, beta, x, mu, logvar, out, diagonal)


class Chunked(Work):
    """A function over rows, in chunks of the size that proves fastest (the user's choice)."""

    def __init__(self, variant, function, rows):
        self.function, self.rows = function, rows[:works.JACOBIAN_ROWS]
        best = None
        for size in (125, 500) if variant == "compiled" else (50, 125, 250, 500, 1000):
            self.size = size
            self.once()
            took = min(common._time(self, 1) for _ in range(2))
            if best is None or took < best[0]:
                best = (took, size)
        self.size, self.rows = best[1], rows

    def once(self):
        with torch.no_grad():
            self.result = [self.function(c) for c in self.rows.split(self.size)]


def variant_of(variant, default, by_hand):
    if variant == "default":
        return default
    if variant == "tuned":
        return by_hand
    return torch.compile(by_hand, dynamic=False)


class Jacobian(Chunked):
    def __init__(self, variant, folder, name):
        _, arrays = common.load(folder, name)
        model = shared_model(works.NETS[name], arrays)
        f = variant_of(variant, gram_default, gram_by_hand)
        super().__init__(variant, lambda z: f(model, z), torch.from_numpy(arrays["z"].copy()))

    def check(self):
        self.once()
        gram = torch.cat(self.result).double()
        return {"trace": float(gram.diagonal(dim1=1, dim2=2).sum(1).mean()),
                "norm": float(gram.square().sum((1, 2)).mean().sqrt())}


class Score(Chunked):
    def __init__(self, variant, folder, name):
        about, arrays = common.load(folder, name)
        model = shared_model(works.NETS[name], arrays)
        f = variant_of(variant, score_default, score_by_hand)
        x, beta = torch.from_numpy(arrays["x"].copy()), about["beta"]
        super().__init__(variant, lambda rows: f(model, beta, rows), x)

    def check(self):
        self.once()
        scores = torch.cat(self.result).double()
        return {"mean": float(scores.mean()), "sd": float(scores.std(unbiased=False))}


# ---- a whole fit ----


class Fit(Work):
    timed_seconds = 0

    def __init__(self, variant, folder):
        self.variant = variant
        self.recipe, arrays = common.load(folder, "fit")
        self.train, self.held = (torch.from_numpy(a) for a in common.fit_rows(self.recipe, arrays))

    def once(self):
        r = self.recipe
        net = works.recipe_net(r)
        torch.manual_seed(0)
        stepper = STEPPERS[self.variant](VAE(net), r["batch"], r["weight"])
        beta, order, at = common.Beta(r), None, 0
        eps = torch.randn(len(self.held), r["n"])
        best, best_value = None, float("inf")
        for step in range(r["steps"]):
            if order is None or at + r["batch"] > len(order):
                order, at = torch.randperm(len(self.train)), 0
            x = self.train[order[at:at + r["batch"]]]
            at += r["batch"]
            now = beta.at(step)
            distortion, _ = stepper.step(x, common.learning_rate(r, step), now)
            if not beta.stands(step):
                beta.see(step, float(distortion))
            if (step + 1) % r["line_every"] == 0 or step + 1 == r["steps"]:
                value = stepper.value(self.held, now, eps)
                if beta.stands(step + 1) and value < best_value:
                    best, best_value = stepper.snapshot(), value
        if best is not None:
            stepper.restore(best)
        self.model, self.beta = stepper.finish(), now

    def quality(self):
        """norm of the active latents on validation rows."""
        with torch.no_grad():
            mu, logvar = self.model.encode(self.held)
            active = 0.5 * (mu ** 2 + logvar.exp() - logvar - 1).mean(0) > 0.05
            j, _, _ = jacobian_by_hand(self.model, mu)
            norm = 2 / self.beta * self.recipe["weight"] * logvar.exp() * (j * j).sum(2)
        return {"steps": self.recipe["steps"], "active": int(active.sum()),
                "norm": sorted((float(v) for v in norm.mean(0)[active]), reverse=True)}


def main():
    variant, threads, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    if variant == "compiled":
        from torch import _dynamo
        _dynamo.config.cache_size_limit = 64
    version = ".".join(torch.__version__.split("+")[0].split(".")[:2])
    factories = {}
    for net in works.NETS:
        factories[net + "-step"] = lambda net=net: Step(variant, folder, net)
        factories[net + "-jacobian"] = lambda net=net: Jacobian(variant, folder, net)
        factories[works.SCORE_OF[net]] = lambda net=net: Score(variant, folder, net)
    factories.update(torch_conv.factories(variant, folder))
    factories["toy-fit"] = lambda: Fit(variant, folder)
    common.serve({"name": "torch-%s-%s" % (version, variant), "version": torch.__version__,
                  "threads": torch.get_num_threads()}, factories)


if __name__ == "__main__":
    main()
