"""JAX as a contender: jax_peer.py jit THREADS FOLDER. The whole step is one compiled function that
gets its state donated; Jacobians are jvp under vmap. The number of threads follows the processors
that the process may use, which the driver sets."""

import sys

import jax
import jax.numpy as jnp
import numpy

sys.dont_write_bytecode = True
import common  # noqa: E402
from common import Work, works  # noqa: E402

ACTIVATION = {"silu": jax.nn.silu, "relu": jax.nn.relu}


def dense(p, x):
    return x @ p[0].T + p[1]


def chain(layers, activation, x, last):
    for i, p in enumerate(layers):
        x = dense(p, x)
        if i < len(layers) - 1 or last:
            x = activation(x)
    return x


def encode(net, p, x):
    h = chain(p["encoder"], ACTIVATION[net["activation"]], x, True)
    return dense(p["heads"][0], h), dense(p["heads"][1], h)


def decode(net, p, z):
    return chain(p["decoder"], ACTIVATION[net["activation"]], z, False)


def distortion(net, out, x):
    if net["loss"] == "bce":
        return (jnp.maximum(out, 0) - out * x + jnp.log1p(jnp.exp(-jnp.abs(out)))).sum(1)
    return ((out - x) ** 2).sum(1)


def kl_of(mu, logvar):
    return -0.5 * (1 + logvar - mu ** 2 - jnp.exp(logvar)).sum(1)


def shared_params(net, arrays):
    encoder, heads, decoder = common.dense_names(net)

    def take(names):
        return [(jnp.array(arrays[n + ".weight"]), jnp.array(arrays[n + ".bias"][0])) for n in names]

    return {"encoder": take(encoder), "heads": take(heads), "decoder": take(decoder)}


def fresh_params(net, key):
    def layer(key, a, b):
        k1, k2 = jax.random.split(key)
        bound = a ** -0.5
        return (jax.random.uniform(k1, (b, a), minval=-bound, maxval=bound),
                jax.random.uniform(k2, (b,), minval=-bound, maxval=bound))

    keys = iter(jax.random.split(key, 32))
    last = net["encoder"][-1]
    return {"encoder": [layer(next(keys), a, b) for a, b in works.pairs(net["encoder"])],
            "heads": [layer(next(keys), last, net["heads"]) for _ in range(2)],
            "decoder": [layer(next(keys), a, b) for a, b in works.pairs(net["decoder"])]}


def terms(net, weight, p, x, eps):
    mu, logvar = encode(net, p, x)
    out = decode(net, p, mu + jnp.exp(0.5 * logvar) * eps)
    return weight * distortion(net, out, x).mean(), kl_of(mu, logvar).mean()


def loss_of(net, weight, p, x, eps, beta):
    d, kl = terms(net, weight, p, x, eps)
    return d / beta + kl, d


def new_state(params):
    zeros = jax.tree_util.tree_map(jnp.zeros_like, params)
    return (params, zeros, jax.tree_util.tree_map(jnp.zeros_like, params), jnp.float32(0),
            jax.random.PRNGKey(0))


def adam(state, grads, rate):
    p, m, v, count, key = state
    tree = jax.tree_util.tree_map
    count = count + 1
    m = tree(lambda a, g: 0.9 * a + 0.1 * g, m, grads)
    v = tree(lambda a, g: 0.999 * a + 0.001 * g * g, v, grads)
    c1, c2 = 1 - 0.9 ** count, 1 - 0.999 ** count
    p = tree(lambda w, a, b: w - rate * (a / c1) / (jnp.sqrt(b / c2) + 1e-8), p, m, v)
    return p, m, v, count, key


def make_step(net, weight=1.0):
    """(state, x, rate, beta) -> (state, distortion), noise drawn inside; and the same with noise
    given."""
    gradient = jax.grad(lambda *a: loss_of(net, weight, *a), has_aux=True)

    def step(state, x, rate, beta):
        key, now = jax.random.split(state[4])
        eps = jax.random.normal(now, (x.shape[0], net["heads"]))
        grads, d = gradient(state[0], x, eps, beta)
        return adam(state[:4] + (key,), grads, rate), d

    def fixed(state, x, rate, beta, eps):
        grads, _ = gradient(state[0], x, eps, beta)
        return adam(state, grads, rate)

    return jax.jit(step, donate_argnums=0), jax.jit(fixed), gradient


class Step(Work):
    def __init__(self, folder, name):
        self.net = works.NETS[name]
        self.about, self.arrays = common.load(folder, name)
        self.step, self.fixed, self.gradient = make_step(self.net)
        size = self.net["batch"]
        x = self.arrays["x"]
        self.batches = [jnp.array(x[i:i + size]) for i in range(0, len(x) - size + 1, size)]
        self.state = new_state(shared_params(self.net, self.arrays))
        self.number = 0

    def once(self):
        x = self.batches[self.number % len(self.batches)]
        self.state, d = self.step(self.state, x, 1e-3, self.about["beta"])
        d.block_until_ready()
        self.number += 1

    def check(self):
        beta, x, eps = self.about["beta"], self.batches[0], jnp.array(self.arrays["eps"])
        p = shared_params(self.net, self.arrays)
        grads, _ = self.gradient(p, x, eps, beta)
        leaves = jax.tree_util.tree_leaves(grads)
        length = float(jnp.sqrt(sum((g ** 2).sum() for g in leaves)))
        state = new_state(p)
        for _ in range(3):
            state = self.fixed(state, x, 1e-3, beta, eps)
        return {"loss": float(loss_of(self.net, 1.0, p, x, eps, beta)[0]), "gradient": length,
                "loss_after_3": float(loss_of(self.net, 1.0, state[0], x, eps, beta)[0])}


def jacobian(net, p, z):
    """Decoder's output, J^T as (n, rows, d)."""
    def along(e):
        return jax.jvp(lambda v: decode(net, p, v), (z,), (jnp.broadcast_to(e, z.shape),))

    out, j = jax.vmap(along, out_axes=(None, 0))(jnp.eye(z.shape[1]))
    return out, j


def metric_diagonal(net, out):
    s = jax.nn.sigmoid(out)
    return s * (1 - s) / 2 if net["loss"] == "bce" else jnp.ones_like(out)


def gram(net, p, z):
    out, j = jacobian(net, p, z)
    return jnp.einsum("jbd,kbd->bjk", j * metric_diagonal(net, out), j)


def score(net, beta, p, x):
    mu, logvar = encode(net, p, x)
    out, j = jacobian(net, p, mu)
    diagonal = (j * j * metric_diagonal(net, out)).sum(2).T
    coding = (jnp.exp(logvar) * diagonal).sum(1)
    value = -(distortion(net, out, x) + coding) / beta - kl_of(mu, logvar)
    return value - common.log_pi_beta(x.shape[1], beta) if net["loss"] == "sse" else value


class Chunked(Work):
    """A function over rows, in chunks of the size that proves fastest."""

    def __init__(self, function, rows):
        self.function = jax.jit(function)
        best = None
        for size in (50, 125, 250, 500, 1000):
            self.cut(rows[:works.JACOBIAN_ROWS], size)
            self.once()
            took = min(common._time(self, 1) for _ in range(2))
            if best is None or took < best[0]:
                best = (took, size)
        self.cut(rows, best[1])

    def cut(self, rows, size):
        self.chunks = [jnp.array(rows[i:i + size]) for i in range(0, len(rows), size)]

    def once(self):
        self.result = [self.function(c) for c in self.chunks]
        for r in self.result:
            r.block_until_ready()


class Jacobian(Chunked):
    def __init__(self, folder, name):
        net = works.NETS[name]
        _, arrays = common.load(folder, name)
        p = shared_params(net, arrays)
        super().__init__(lambda z: gram(net, p, z), arrays["z"])

    def check(self):
        self.once()
        m = numpy.concatenate([numpy.asarray(r) for r in self.result]).astype(float)
        return {"trace": float(numpy.trace(m, axis1=1, axis2=2).mean()),
                "norm": float(numpy.sqrt((m ** 2).sum((1, 2)).mean()))}


class Score(Chunked):
    def __init__(self, folder, name):
        net = works.NETS[name]
        about, arrays = common.load(folder, name)
        p = shared_params(net, arrays)
        super().__init__(lambda x: score(net, about["beta"], p, x), arrays["x"])

    def check(self):
        self.once()
        s = numpy.concatenate([numpy.asarray(r) for r in self.result]).astype(float)
        return {"mean": float(s.mean()), "sd": float(s.std())}


class Fit(Work):
    timed_seconds = 0

    def __init__(self, folder):
        self.recipe, arrays = common.load(folder, "fit")
        self.train, self.held = common.fit_rows(self.recipe, arrays)
        self.net = works.recipe_net(self.recipe)
        weight = self.recipe["weight"]
        self.step, _, _ = make_step(self.net, weight)
        self.value = jax.jit(lambda p, x, eps, beta: loss_of(self.net, weight, p, x, eps, beta)[0])
        self.held = jnp.array(self.held)
        self.compile()

    def compile(self):
        """Outside of the timed part, once for all fits."""
        r = self.recipe
        state = new_state(fresh_params(self.net, jax.random.PRNGKey(1)))
        state, _ = self.step(state, self.train[:r["batch"]], 1e-3, 1.0)
        self.value(state[0], self.held, jnp.zeros((len(self.held), r["n"])), 1.0)

    def once(self):
        r = self.recipe
        state = new_state(fresh_params(self.net, jax.random.PRNGKey(1)))
        rng = numpy.random.default_rng(0)
        beta, order, at = common.Beta(r), None, 0
        eps = jax.random.normal(jax.random.PRNGKey(2), (len(self.held), r["n"]))
        best, best_value = None, float("inf")
        for step in range(r["steps"]):
            if order is None or at + r["batch"] > len(order):
                order, at = rng.permutation(len(self.train)), 0
            x = self.train[order[at:at + r["batch"]]]
            at += r["batch"]
            now = beta.at(step)
            state, d = self.step(state, x, common.learning_rate(r, step), now)
            if not beta.stands(step):
                beta.see(step, float(d))
            if (step + 1) % r["line_every"] == 0 or step + 1 == r["steps"]:
                value = float(self.value(state[0], self.held, eps, now))
                if beta.stands(step + 1) and value < best_value:
                    best, best_value = jax.tree_util.tree_map(jnp.copy, state[0]), value
        self.params, self.beta = best if best is not None else state[0], now

    def quality(self):
        """norm of the active latents on validation rows."""
        mu, logvar = encode(self.net, self.params, self.held)
        active = numpy.asarray(0.5 * (mu ** 2 + jnp.exp(logvar) - logvar - 1).mean(0) > 0.05)
        _, j = jacobian(self.net, self.params, mu)
        diagonal = (j * j).sum(2).T
        norm = numpy.asarray((2 / self.beta * self.recipe["weight"] * jnp.exp(logvar) *
                              diagonal).mean(0))
        return {"steps": self.recipe["steps"], "active": int(active.sum()),
                "norm": sorted((float(v) for v in norm[active]), reverse=True)}


def main():
    variant, folder = sys.argv[1], sys.argv[3]
    version = ".".join(jax.__version__.split(".")[:2])
    factories = {}
    for net in works.NETS:
        factories[net + "-step"] = lambda net=net: Step(folder, net)
        factories[net + "-jacobian"] = lambda net=net: Jacobian(folder, net)
        factories[works.SCORE_OF[net]] = lambda net=net: Score(folder, net)
    factories["toy-fit"] = lambda: Fit(folder)
    common.serve({"name": "jax-%s-%s" % (version, variant), "version": jax.__version__}, factories)


if __name__ == "__main__":
    main()
