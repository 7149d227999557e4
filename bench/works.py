"""What is measured, and the operations that each work is counted with: the same for all contenders.

A multiplication and an addition are two operations. Counted are the matrix products alone, as if
every number in them mattered; activations, losses, noise and Adam are not.

  dense layer, B rows      forward 2 B in out; backward twice that (weights and data), but for the
                           first layer of the encoder, whose data need no gradient
  step                     forward and backward of encoder and decoder, one draw
  Jacobian's Gram matrix   decoder forward 2 R W; tangents 2 n R W; all pairs 2 n^2 d R
                           (W = sum of in * out over the decoder, n latents, d features, R rows)
  score                    encoder and decoder forward; tangents 2 n R W; diagonal 2 n d R
  fit                      its steps; validation and what follows the steps are not counted

The limit of a work is its operations over the peak of one core times the number of threads.
"""

NETS = {
    "toy": {
        "encoder": [16, 128, 128], "heads": 3, "decoder": [3, 128, 128, 16],
        "activation": "silu", "loss": "sse", "batch": 100,
    },
    "mnist": {
        "encoder": [784, 400], "heads": 20, "decoder": [20, 400, 784],
        "activation": "relu", "loss": "bce", "batch": 128,
    },
}
SCORE_OF = {"toy": "score", "mnist": "mnist-score"}
JACOBIAN_ROWS = 1000
SCORE_ROWS = 10000

# name -> (net, kind, what a reader is told)
WORKS = {
    "toy-step": ("toy", "step", "training step, batch 100: noise, forward, backward, Adam"),
    "mnist-step": ("mnist", "step", "training step, batch 128: noise, forward, backward, Adam"),
    "toy-train": ("toy", "step", "the same in the trainer: rows shuffled, gathered, scaled as well"),
    "mnist-train": ("mnist", "step", "the same in the trainer"),
    "toy-jacobian": ("toy", "jacobian", "J^T G J of 1,000 rows, 3 latents"),
    "mnist-jacobian": ("mnist", "jacobian", "J^T G J of 1,000 rows, 20 latents"),
    "score": ("toy", "score", "log density (E6) of 10,000 rows, toy network"),
    "mnist-score": ("mnist", "score", "log density (E6) of 10,000 rows, MNIST network"),
    "toy-fit": ("fit", "fit", "whole fit of toy:norm, 50,000 rows, default recipe"),
    "toy-fit-quick": ("fit", "fit", "the same with --quick: a sixth of the steps"),
}


def pairs(sizes):
    return list(zip(sizes[:-1], sizes[1:]))


def encoder_layers(net):
    return pairs(net["encoder"]) + [(net["encoder"][-1], 2 * net["heads"])]


def weights(layers):
    return sum(a * b for a, b in layers)


def step_flops(net, batch):
    encoder = encoder_layers(net)
    forward = 2 * batch * (weights(encoder) + weights(pairs(net["decoder"])))
    first = 2 * batch * encoder[0][0] * encoder[0][1]
    return 3 * forward - first


def jacobian_flops(net, rows):
    w = weights(pairs(net["decoder"]))
    n, d = net["decoder"][0], net["decoder"][-1]
    return 2 * rows * w + 2 * n * rows * w + 2 * n * n * d * rows


def score_flops(net, rows):
    w = weights(pairs(net["decoder"]))
    n, d = net["decoder"][0], net["decoder"][-1]
    return 2 * rows * (weights(encoder_layers(net)) + w) + 2 * n * rows * w + 2 * n * d * rows


def recipe_net(recipe):
    """The network of the whole fit, from fit.json."""
    hidden = [int(width) for width in recipe["arch"].split(":")[1].split(",")]
    return {
        "encoder": [recipe["d"]] + hidden, "heads": recipe["n"],
        "decoder": [recipe["n"]] + hidden[::-1] + [recipe["d"]],
        "activation": recipe["activation"], "loss": "sse", "batch": recipe["batch"],
    }


def flops(work, recipe):
    name, kind, _ = WORKS[work]
    if kind == "fit":
        steps = recipe["quick_steps"] if work.endswith("quick") else recipe["steps"]
        return steps * step_flops(recipe_net(recipe), recipe["batch"])
    net = NETS[name]
    if kind == "step":
        return step_flops(net, net["batch"])
    if kind == "jacobian":
        return jacobian_flops(net, JACOBIAN_ROWS)
    return score_flops(net, SCORE_ROWS)
