"""What is measured, and the operations that each work is counted with: the same for all contenders.

A multiplication and an addition are two operations. Counted are the matrix products alone, as if
every number in them mattered; activations, losses, noise and Adam are not.

  dense layer, B rows      forward 2 B in out; backward twice that (weights and data), but for the
                           first layer of the encoder, whose data need no gradient
  convolution, an image    forward 2 P t in out (P pixels of the output, of a transposed one those
                           of the input; t taps); what falls outside of the image counts as well
  GDN, an image            forward 2 P C^2; backward of these two as of a dense layer
  step                     forward and backward of encoder and decoder, one draw
  Jacobian's Gram matrix   decoder forward 2 R W; tangents 2 n R W; all pairs 2 n^2 d R
                           (W = sum of in * out over the decoder, n latents, d features, R rows;
                           with convolutions 2 W is the forward pass of one image)
  score                    encoder and decoder forward; tangents 2 n R W; diagonal 2 n d R
  fit                      its steps; validation and what follows the steps are not counted
  decoding                 nothing is counted, there is no limit

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
# Layers: kernel, padding, channels; the decoder is the mirror.
CONV_NETS = {
    "conv64": {
        "side": 64, "channels": 3, "layers": [(9, 4, 64), (5, 2, 64), (5, 2, 64), (5, 2, 64)],
        "norm": "gdn", "dense": 8192, "heads": 256, "loss": "sse", "batch": 64, "rate": 1e-4,
    },
    "conv-small": {
        "side": 64, "channels": 3, "layers": [(4, 1, 32), (4, 1, 64), (4, 1, 128), (4, 1, 256)],
        "norm": "batch", "dense": 0, "heads": 64, "loss": "sse", "batch": 64, "rate": 1e-4,
    },
}
CONV_JACOBIAN_ROWS = 100
CONV_CHECK_ROWS = 10  # of them, for what a check compares
CONV_PEER_ROWS = 20   # of them, that peers are timed on: they take one to five at a time
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
    "conv64-step": ("conv64", "conv-step", "training step of conv64, 64 pictures of 64 x 64 x 3"),
    "conv-small-step": ("conv-small", "conv-step", "training step of conv-small, the same pictures"),
    "conv64-jacobian": ("conv64", "conv-jacobian",
                        "J^T G J of 100 rows, 256 latents, 12,288 features"),
    "decode-jpegs": ("", "decode", "10,000 JPEGs out of a zip, cropped and resized to 64 x 64 (own "
                     "data, where they lie here)"),
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


def conv_sides(net):
    """Side of the picture before each layer and behind the last."""
    sides = [net["side"]]
    for kernel, pad, _ in net["layers"]:
        sides.append((sides[-1] + 2 * pad - kernel) // 2 + 1)
    return sides


def conv_forward(net):
    """Operations of the encoder, of the decoder and of the encoder's first layer, for one image."""
    sides, n, below = conv_sides(net), net["heads"], net["channels"]
    both = []  # what encoder and decoder have alike
    for (kernel, _, channels), side in zip(net["layers"], sides[1:]):
        both.append(2 * side ** 2 * kernel ** 2 * below * channels)
        if net["norm"] == "gdn":
            both.append(2 * side ** 2 * channels ** 2)
        below = channels
    features, dense = below * sides[-1] ** 2, net["dense"]
    if dense:
        both.append(2 * features * dense)
        features = dense
    return sum(both) + 2 * features * 2 * n, sum(both) + 2 * n * features, both[0]


def conv_step_flops(net):
    encoder, decoder, first = conv_forward(net)
    return net["batch"] * (3 * (encoder + decoder) - first)


def conv_jacobian_flops(net, rows):
    n, d = net["heads"], net["side"] ** 2 * net["channels"]
    return rows * ((1 + n) * conv_forward(net)[1] + 2 * n * n * d)


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
    if kind == "decode":
        return 0
    if kind == "conv-step":
        return conv_step_flops(CONV_NETS[name])
    if kind == "conv-jacobian":
        return conv_jacobian_flops(CONV_NETS[name], CONV_JACOBIAN_ROWS)
    net = NETS[name]
    if kind == "step":
        return step_flops(net, net["batch"])
    if kind == "jacobian":
        return jacobian_flops(net, JACOBIAN_ROWS)
    return score_flops(net, SCORE_ROWS)
