/* The table itself: nothing but data. */
#include "options.h"

#define ALL                                                                                        \
    (CLI_DEMO | CLI_FIT | CLI_REPORT | CLI_SCORE | CLI_ENCODE | CLI_DECODE | CLI_SAMPLE |          \
     CLI_TRAVERSE | CLI_INFO | CLI_STABILITY | CLI_DRIFT | CLI_SWEEP | CLI_PRUNE | CLI_AUDIT |     \
     CLI_EXPORT)
#define READS_DATA                                                                                 \
    (CLI_FIT | CLI_REPORT | CLI_SCORE | CLI_ENCODE | CLI_TRAVERSE | CLI_STABILITY | CLI_DRIFT |    \
     CLI_SWEEP | CLI_PRUNE | CLI_AUDIT)
/* Commands that train, once or many times. */
#define TRAINS (CLI_FIT | CLI_STABILITY)
#define COMPUTES (ALL & ~(unsigned)(CLI_INFO | CLI_EXPORT))

static const char model_group[] = "Model";
static const char training_group[] = "Training";
static const char validation_group[] = "Validation";
static const char run_group[] = "Stopping and going on";
static const char data_group[] = "Data";
static const char output_group[] = "Output";
static const char analysis_group[] = "Analysis";
static const char sweep_group[] = "Sweep";
static const char networks_group[] = "Networks";
static const char general_group[] = "General";

const cli_option cli_options[] = {
    /* ---- output ---- */
    {OPT_OUTPUT, "output", 'o', CLI_TEXT, "MODEL", NULL, NULL,
     "The model file to write (.safetensors). Required. It is written whole at the end or not at "
     "all.",
     CLI_FIT, output_group},
    {OPT_OUTPUT, "output", 'o', CLI_TEXT, "MODEL", NULL, NULL,
     "Also write the model of the run that agrees best with the others.", CLI_STABILITY,
     output_group},
    {OPT_OUTPUT, "output", 'o', CLI_TEXT, "MODEL", NULL, NULL,
     "The smaller model (.safetensors). Required. Written whole or not at all.", CLI_PRUNE,
     output_group},
    {OPT_OUTPUT, "output", 'o', CLI_TEXT, "DIR", NULL, "isovae-demo",
     "The folder for the model and its reports; made where absent.", CLI_DEMO, output_group},
    {OPT_OUTPUT, "output", 'o', CLI_TEXT, "FILE", NULL, "standard output, as CSV",
     "Write the result to FILE: .csv, .json or .npy (numbers alone, without ids) by its suffix; "
     "whole "
     "or not at all.",
     CLI_SCORE | CLI_ENCODE | CLI_DECODE, output_group},
    {OPT_OUTPUT, "output", 'o', CLI_TEXT, "FILE", NULL, "standard output, as CSV",
     "Write the result to FILE: .csv, .json, .npy, or for image models .png (ten images a row).",
     CLI_SAMPLE, output_group},
    {OPT_OUTPUT, "output", 'o', CLI_TEXT, "FILE", NULL, "standard output, as CSV",
     "Write the result to FILE: .csv, .json, .npy, or for image models .png (a labelled sheet, one "
     "row of images per latent).",
     CLI_TRAVERSE, output_group},
    {OPT_JSON, "json", 0, CLI_TEXT, "FILE", NULL, NULL,
     "Also write the report as JSON (isovae-report/1); - prints it instead of the text.",
     CLI_REPORT | CLI_AUDIT, output_group},
    {OPT_JSON, "json", 0, CLI_TEXT, "FILE", NULL, NULL,
     "Also write the result as JSON (isovae-stability/1, isovae-drift/1); - prints it instead of "
     "the text.",
     CLI_STABILITY | CLI_DRIFT, output_group},
    {OPT_OUTPUT, "output", 'o', CLI_TEXT, "MODEL", NULL, NULL,
     "Write the model of the chosen beta, trained from a cold start (.safetensors).", CLI_SWEEP,
     output_group},
    {OPT_JSON, "json", 0, CLI_TEXT, "FILE", NULL, NULL,
     "Also write the sweep as JSON (isovae-sweep/1); - prints it instead of the text.", CLI_SWEEP,
     output_group},
    {OPT_HTML, "html", 0, CLI_TEXT, "FILE", NULL, NULL,
     "Also write the sweep as one self-contained page with charts.", CLI_SWEEP, output_group},
    {OPT_JSON, "json", 0, CLI_FLAG, NULL, NULL, NULL, "Print JSON instead of text.", CLI_INFO,
     output_group},
    {OPT_HTML, "html", 0, CLI_TEXT, "FILE", NULL, NULL,
     "Also write the report as one self-contained page with charts.",
     CLI_REPORT | CLI_STABILITY | CLI_AUDIT, output_group},
    {OPT_CSV, "csv", 0, CLI_TEXT, "DIR", NULL, NULL,
     "Also write tables as CSV and charts as SVG into a folder; made where absent.",
     CLI_REPORT | CLI_AUDIT, output_group},

    {OPT_OUTPUT, "output", 'o', CLI_TEXT, "MODEL", NULL, NULL,
     "Also write the networks as a model file (.safetensors), which score, encode, traverse and "
     "the "
     "others take.",
     CLI_AUDIT, output_group},

    {OPT_ONNX, "onnx", 0, CLI_TEXT, "DIR", NULL, NULL,
     "The folder for the ONNX files; made where absent. Required. Each file is written whole or "
     "not "
     "at all.",
     CLI_EXPORT, output_group},

    /* ---- audit ---- */
    {OPT_ENCODER, "encoder", 0, CLI_TEXT, "FILE", NULL, NULL,
     "ONNX file of the encoder, which gives mean and width of the posterior. Without --decoder: of "
     "the whole VAE, which is cut at its sampling.",
     CLI_AUDIT, networks_group},
    {OPT_DECODER, "decoder", 0, CLI_TEXT, "FILE", NULL, NULL,
     "ONNX file of the decoder. Without "
     "--encoder: what the decoder alone says, on draws of N(0, I).",
     CLI_AUDIT, networks_group},
    {OPT_MU, "mu", 0, CLI_TEXT, "NAME", NULL, "found",
     "Tensor of the encoder that holds the posterior's mean; without --logvar one that holds mean "
     "and width, each half of it.",
     CLI_AUDIT, networks_group},
    {OPT_LOGVAR, "logvar", 0, CLI_TEXT, "NAME", NULL, "found",
     "Tensor of the encoder that holds the posterior's width, whatever its kind (--head).",
     CLI_AUDIT, networks_group},
    {OPT_Z, "z", 0, CLI_TEXT, "NAME", NULL, "its input", "Tensor at which the decoder begins.",
     CLI_AUDIT, networks_group},
    {OPT_RECONSTRUCTION, "reconstruction", 0, CLI_TEXT, "NAME", NULL, "found",
     "Tensor of the decoder that holds the reconstruction.", CLI_AUDIT, networks_group},
    {OPT_HEAD, "head", 0, CLI_CHOICE, "logvar|logsigma|variance|sigma", NULL,
     "by the tensor's name, else logvar", "What the width is.", CLI_AUDIT, networks_group},
    {OPT_WIDTH_FIRST, "width-first", 0, CLI_FLAG, NULL, NULL, NULL,
     "The width comes before the mean, where names do not tell.", CLI_AUDIT, networks_group},
    {OPT_MEANS_ONLY, "means-only", 0, CLI_FLAG, NULL, NULL, NULL,
     "Look at the means alone: importance from the decoder's Jacobian, nothing of the optimum. So "
     "it is where the encoder gives no width.",
     CLI_AUDIT, networks_group},
    {OPT_LAYOUT, "layout", 0, CLI_CHOICE, "NCHW|NHWC", NULL, "by the shapes, else the exporter's",
     "Order of a picture's values in the networks.", CLI_AUDIT, networks_group},
    {OPT_INPUT_RANGE, "input-range", 0, CLI_TEXT, "LOW:HIGH", NULL,
     "0:1 for pictures; tables as they are",
     "What the networks see as black and white (of other data: as 0 and 1).", CLI_AUDIT,
     networks_group},
    {OPT_OUTPUT_RANGE, "output-range", 0, CLI_TEXT, "LOW:HIGH", NULL, "that of the input",
     "Likewise of the decoder's output, where it is another.", CLI_AUDIT, networks_group},
    {OPT_MEAN, "mean", 0, CLI_TEXT, "LIST", NULL, NULL,
     "After the range, the networks see (x - mean)/std: one number, or one for each channel.",
     CLI_AUDIT, networks_group},
    {OPT_STD, "std", 0, CLI_TEXT, "LIST", NULL, NULL, "Likewise.", CLI_AUDIT, networks_group},
    {OPT_LOSS, "loss", 0, CLI_TEXT, "NAME", NULL, "sse",
     "Distance that the model was trained with: sse, bce, weighted:... or ssim:R.", CLI_AUDIT,
     networks_group},
    {OPT_BETA, "beta", 'b', CLI_POSITIVE, "NUMBER", NULL, "estimated from the active latents",
     "Weight of the KL term, as in the training's own loss (--loss-scale).", CLI_AUDIT,
     networks_group},
    {OPT_LOSS_SCALE, "loss-scale", 0, CLI_CHOICE, "sum|mean|half-sum|half-mean", NULL, "sum",
     "How that loss counts the distance of a row: summed over features, their mean, half of "
     "either. "
     "(The mean over rows is always taken.)",
     CLI_AUDIT, networks_group},
    {OPT_KL_SCALE, "kl-scale", 0, CLI_CHOICE, "sum|mean", NULL, "sum",
     "How it counts the KL divergence: summed over latents, or their mean.", CLI_AUDIT,
     networks_group},

    /* ---- fit: model ---- */
    {OPT_PRESET, "preset", 0, CLI_CHOICE, "anomaly", NULL, NULL,
     "Values of many options under one name, listed below by the size of the data; what is given "
     "besides takes the place of the preset's.",
     CLI_FIT, model_group},
    {OPT_LATENT_DIM, "latent-dim", 'n', CLI_COUNT, "N", NULL,
     "10, at most features - 1; 32 for images", "Number of latents. Those not needed switch off.",
     TRAINS | CLI_SWEEP, model_group},
    {OPT_ARCH, "arch", 0, CLI_TEXT, "NAME", NULL, "mlp:64,64 for tables, mlp:400 for images",
     "Network: mlp:A,B,... is the encoder, the decoder its mirror; linear has no hidden layer; "
     "conv64 and conv-small are for images; FILE.json describes one (docs/architectures.md).",
     TRAINS | CLI_SWEEP, model_group},
    {OPT_ACTIVATION, "activation", 0, CLI_TEXT, "NAME", NULL, "silu; tanh with --init multimodal",
     "Activation of the hidden layers of mlp: silu, tanh, relu, leaky_relu, elu, gelu, softplus, "
     "sigmoid.",
     TRAINS | CLI_SWEEP, model_group},
    {OPT_LOSS, "loss", 0, CLI_TEXT, "NAME", NULL, "sse",
     "Distance between data and reconstruction, summed over features: sse; bce (values in [0, 1]); "
     "weighted:down, weighted:up, weighted:C0,C1 (c0 + c1 |x|^2 times sse) or "
     "weighted:inverse,C0,C1; ssim or ssim:R, 1 - SSIM of pictures with the data range R (--beta "
     "is "
     "required); student, heavy tails learned per feature (beta 1).",
     TRAINS | CLI_SWEEP, model_group},
    {OPT_NOISE, "noise", 0, CLI_CHOICE, "common|feature", NULL, "common",
     "Noise of the decoder for sse: common to all features, given by beta; or feature, learned for "
     "each feature (beta 1). --loss student always learns it for each.",
     TRAINS, model_group},
    {OPT_NOISE_FLOOR, "noise-floor", 0, CLI_SHARE, "SHARE", NULL, "0.005; 0.1 for student",
     "Learned noise: its variance s^2 is at least this share of the mean feature variance, in "
     "scaled units. Above 0.",
     TRAINS, model_group},
    {OPT_NOISE_START, "noise-start", 0, CLI_SHARE, "SHARE", NULL,
     "below the variances that must survive",
     "Learned noise: its variance starts at this share of the mean feature variance and learns "
     "from "
     "the first step. 1 suits tables with many rows that are nearly alike, where a small start "
     "switches most latents off.",
     TRAINS, model_group},
    {OPT_BETA, "beta", 'b', CLI_AUTO, "auto|NUMBER", NULL,
     "auto; 1 for bce, student and --noise feature; none for ssim",
     "Weight of the KL term in D + beta KL, D summed over features. For sse, beta/2 is the noise "
     "variance of the decoder; auto lets it follow the residual variance per feature.",
     TRAINS, model_group},
    {OPT_BETA_FLOOR, "beta-floor", 0, CLI_SHARE, "SHARE", NULL, "0.005",
     "With beta auto: beta/2 is at least this share of the mean feature variance.",
     TRAINS | CLI_SWEEP, model_group},
    {OPT_OBJECTIVE, "objective", 0, CLI_CHOICE, "conventional|decomposed", NULL, "conventional",
     "Conventional: D(x, Dec(z)) + beta KL. Decomposed: transform + coding loss + beta KL, the "
     "form "
     "of the paper's experiments; biased where latents are spare.",
     TRAINS | CLI_SWEEP, model_group},
    {OPT_SCALE, "scale", 0, CLI_CHOICE, "none|standard|minmax|unit|identity|mixed", NULL,
     "standard for tables, unit for images and bce, none for toy: and blobs:, identity for "
     "weighted",
     "Scaling of the features: the metric counts scaled differences. It is stored in the model and "
     "undone in every result. mixed: continuous columns to SD 1, two-valued ones to range 2, "
     "constant "
     "ones are left out of the network, and a row that changes one pays log(n + 1) nats in its "
     "score, n the training rows.",
     TRAINS | CLI_SWEEP, model_group},

    /* ---- fit: training ---- */
    {OPT_STEPS, "steps", 0, CLI_COUNT, "N", NULL, "the longer of 12000 steps and 20 epochs",
     "Length of the training in steps.", TRAINS | CLI_SWEEP, training_group},
    {OPT_EPOCHS, "epochs", 0, CLI_COUNT, "N", NULL, NULL,
     "Length of the training in passes over the training rows; instead of --steps.", TRAINS,
     training_group},
    {OPT_QUICK, "quick", 0, CLI_FLAG, NULL, NULL, NULL,
     "A first look: the longer of 2000 steps and 4 epochs. Latents and their importance stand by "
     "then; densities of data far from Gaussian gain by the full length.",
     TRAINS | CLI_SWEEP, training_group},
    {OPT_BATCH_SIZE, "batch-size", 0, CLI_COUNT, "N", NULL,
     "400 where the widest layer has at most 128 units, else 200; 64 for conv64, conv-small, "
     "FILE.json",
     "Rows per step.", TRAINS | CLI_SWEEP, training_group},
    {OPT_LR, "lr", 0, CLI_POSITIVE, "RATE", NULL,
     "0.01 where the widest layer of mlp has at most 128 units (0.002 for tables with heavy "
     "tails), "
     "0.0003 for conv64, else 0.001",
     "Learning rate of Adam.", TRAINS | CLI_SWEEP, training_group},
    {OPT_LR_SCHEDULE, "lr-schedule", 0, CLI_CHOICE, "cosine|step|constant|linear", NULL, "cosine",
     "How the rate falls over the steps; linear: it stands for half of them, then falls to 0 in a "
     "line.",
     TRAINS, training_group},
    {OPT_LR_WARMUP, "lr-warmup", 0, CLI_COUNT, "STEPS", NULL, "none",
     "Steps over which the rate grows to its value.", TRAINS | CLI_SWEEP, training_group},
    {OPT_WEIGHT_DECAY, "weight-decay", 0, CLI_NOT_NEGATIVE, "NUMBER", NULL, "0",
     "Decoupled weight decay.", TRAINS | CLI_SWEEP, training_group},
    {OPT_DENOISE, "denoise", 0, CLI_NOT_NEGATIVE, "SD", NULL, "0",
     "Noise of this standard deviation, in scaled units, on what the encoder sees while training.",
     TRAINS, training_group},
    {OPT_BETA_START, "beta-start", 0, CLI_POSITIVE, "NUMBER", NULL, "from the PCA spectrum",
     "Beta at the first step; it is annealed to its final value over the first half. The final "
     "value itself means no annealing.",
     TRAINS, training_group},
    {OPT_KL_WARMUP, "kl-warmup", 0, CLI_SHARE, "SHARE", NULL, "0",
     "Share of the steps over which the KL term grows from nothing.", TRAINS, training_group},
    {OPT_INIT, "init", 0, CLI_CHOICE, "default|multimodal", NULL, "default",
     "Starting weights; multimodal has wider first layers, for data with separate modes.",
     TRAINS | CLI_SWEEP, training_group},
    {OPT_ENSEMBLE, "ensemble", 0, CLI_COUNT, "N", NULL, "1",
     "Train N networks, each from its own start and with its own fifth of the rows held out (less "
     "for more than five), into one model file. Scores are then means over the members.",
     CLI_FIT, training_group},
    {OPT_INIT_FROM, "init-from", 0, CLI_TEXT, "MODEL", NULL, NULL,
     "Start from the weights of a model of the same shape.", CLI_FIT, training_group},

    /* ---- fit: validation ---- */
    {OPT_VALIDATION, "validation", 0, CLI_TEXT, "SHARE|FILE", NULL, "0.1",
     "Share of the rows held out, or a data file of its own. The weights that validate best are "
     "kept. 0: none. With --ensemble: of each member, 0.2 unless given.",
     TRAINS | CLI_SWEEP, validation_group},
    {OPT_SPLIT_BY, "split-by", 0, CLI_TEXT, "COLUMN", NULL, NULL,
     "Column that says which rows train (0) and which validate (anything else).",
     TRAINS | CLI_SWEEP | CLI_REPORT, validation_group},
    {OPT_PATIENCE, "patience", 0, CLI_COUNT, "N", NULL, "20",
     "With a constant or step rate: stop after N validations without gain.", TRAINS,
     validation_group},

    /* ---- fit: stopping and going on ---- */
    {OPT_RESUME, "resume", 0, CLI_TEXT, "CHECKPOINT", NULL, NULL,
     "Go on from a checkpoint; the other options must be those of the run that wrote it. The "
     "result "
     "is the same, byte for byte, as that of a run that was never stopped. Where the file is not "
     "there yet, the run starts from the beginning.",
     CLI_FIT, run_group},
    {OPT_RESUME, "resume", 0, CLI_TEXT, "STATE", NULL, NULL,
     "Go on from what an interrupted sweep has finished (FILE.sweep beside its first output); the "
     "other options must be those of the run that wrote it. Where the file is not there yet, the "
     "sweep starts from the beginning and keeps its state there.",
     CLI_SWEEP, run_group},
    {OPT_CHECKPOINT_EVERY, "checkpoint-every", 0, CLI_EVERY, "STEPS|TIME", NULL,
     "2000 steps or 10m, whichever is sooner",
     "Steps or time (90s, 10m, 1h) between checkpoints, which go to MODEL.ckpt and are removed at "
     "the end.",
     CLI_FIT, run_group},
    {OPT_CHECKPOINT_EVERY, "checkpoint-every", 0, CLI_EVERY, "STEPS|TIME", NULL,
     "2000 steps or 10m, whichever is sooner",
     "Steps or time (90s, 10m, 1h) between checkpoints of the run in work.", CLI_STABILITY,
     run_group},
    {OPT_MAX_TIME, "max-time", 0, CLI_DURATION, "TIME", NULL, NULL,
     "Train no longer than this (90s, 30m, 1h30m), resumed sessions together. Where the steps do "
     "not fit, the first ones show how many do, and the run begins anew with so many, so that the "
     "learning rate still falls to its end; the report says so. Measuring the finished model comes "
     "on top.",
     TRAINS, run_group},
    {OPT_LOG, "log", 0, CLI_TEXT, "FILE.jsonl", NULL, NULL,
     "Write losses, rates and speed while training, a JSON object a line, at once; a resumed run "
     "goes on with the file.",
     CLI_FIT, run_group},
    {OPT_TENSORBOARD, "tensorboard", 0, CLI_TEXT, "DIR", NULL, NULL,
     "Write the same numbers as an event file for TensorBoard into a folder, made where absent.",
     CLI_FIT, run_group},
    {OPT_NO_RESTART, "no-restart", 0, CLI_FLAG, NULL, NULL, NULL,
     "Do not start again, from another start, when a run has folded.", TRAINS | CLI_SWEEP,
     run_group},

    /* ---- sweep ---- */
    {OPT_TARGET, "target", 0, CLI_TEXT, "WHAT=VALUE", NULL,
     "the calibrated rule: beta/2 is the residual variance per feature",
     "Find the largest beta that reaches this: psnr=DB (pictures), rmse=X (a feature, in the "
     "metric's units), r2=X, all of the reconstruction of validation rows; rate=NATS; active=N "
     "latents. Where the curve ends before, it is followed further down.",
     CLI_SWEEP, sweep_group},
    {OPT_POINTS, "points", 0, CLI_COUNT, "N", NULL, "16",
     "Betas, equally far apart in their logarithm.", CLI_SWEEP, sweep_group},
    {OPT_BETA_RANGE, "beta-range", 0, CLI_TEXT, "LARGE:SMALL", NULL,
     "from above the first latent to below the noise that PCA leaves; bce: 64:0.25; none for ssim",
     "The largest and the smallest beta.", CLI_SWEEP, sweep_group},
    {OPT_STEPS, "steps", 0, CLI_COUNT, "N", NULL, "a twelfth of those of fit",
     "Steps of a training, two per beta; those from a cold start take twelve times as many.",
     CLI_SWEEP, sweep_group},
    {OPT_SEEDS, "seeds", 0, CLI_COUNT, "N", NULL, "1",
     "Sweep so often, from other starts, on the same rows; the curve is their mean, with error "
     "bars.",
     CLI_SWEEP, sweep_group},
    {OPT_NO_RETRAIN, "no-retrain", 0, CLI_FLAG, NULL, NULL, NULL,
     "The curve and its answer alone: do not train the chosen beta from a cold start.", CLI_SWEEP,
     sweep_group},

    /* ---- report ---- */
    {OPT_ROWS, "rows", 0, CLI_CHOICE, "auto|all|train|validation", NULL, "auto",
     "Which rows to look at. auto: the validation rows where the data are those of the training, "
     "else all.",
     CLI_REPORT, analysis_group},
    {OPT_IWAE, "iwae", 0, CLI_TEXT, "K[,ROWS]", NULL, "64,1000",
     "Draws and rows of the importance-weighted estimate that checks the density; 0: none.",
     CLI_REPORT | CLI_AUDIT, analysis_group},
    {OPT_TRUTH_DENSITY, "truth-density", 0, CLI_TEXT, "COLUMN", NULL, NULL,
     "Column with the true density of each row, to compare with.", CLI_REPORT, analysis_group},

    {OPT_LABELS, "labels", 0, CLI_TEXT, "COLUMN|FILE", NULL, NULL,
     "What is known of the rows: tell how well each latent knows it. A column of the data, which "
     "is "
     "then no feature; obs/NAME of an .h5ad; another array of an .npz or .mat; or a file: one "
     "column "
     "of CSV (FILE:COLUMN), an array, IDX.",
     CLI_REPORT, analysis_group},

    /* ---- score ---- */
    {OPT_ESTIMATE, "estimate", 0, CLI_CHOICE, "elbo|posterior|logdet|laplace", NULL, "elbo",
     "Which log density: elbo counts the distance from the manifold and is the one for anomalies; "
     "the others are densities on the manifold.",
     CLI_SCORE, analysis_group},
    {OPT_FPR, "fpr", 0, CLI_SHARE, "P", NULL, "0.01",
     "Flag rows whose tail_prob is below P: of rows like the training's, a share of P is flagged.",
     CLI_SCORE, analysis_group},
    {OPT_EXPLAIN, "explain", 0, CLI_COUNT, "N", "3", NULL,
     "Add a column that names the N features and latents that cost each flagged row most (where "
     "none "
     "is flagged, the least probable row), with nats.",
     CLI_SCORE, analysis_group},

    {OPT_MEMBER, "member", 0, CLI_NATURAL, "K", NULL, "0",
     "Which network of an ensemble, counted from 0.",
     CLI_REPORT | CLI_ENCODE | CLI_DECODE | CLI_SAMPLE | CLI_TRAVERSE | CLI_INFO, analysis_group},

    /* ---- encode, decode, sample, traverse ---- */
    {OPT_ISOMETRIC, "isometric", 0, CLI_FLAG, NULL, NULL, NULL,
     "Isometric coordinates y, in which distances are distances in the data, instead of mu.",
     CLI_ENCODE | CLI_DECODE, analysis_group},
    {OPT_SIGMA, "sigma", 0, CLI_FLAG, NULL, NULL, NULL, "Add the posterior's standard deviations.",
     CLI_ENCODE, analysis_group},
    {OPT_COUNT, "count", 'n', CLI_COUNT, "N", NULL, "10", "Rows to draw.", CLI_SAMPLE,
     analysis_group},
    {OPT_NOISE, "noise", 0, CLI_FLAG, NULL, NULL, NULL,
     "Add the decoder's noise: variance beta/2 in the metric for sse, what was learned for noise "
     "per feature and student, a draw of 0 or 1 for bce.",
     CLI_SAMPLE, analysis_group},
    {OPT_ROW, "row", 0, CLI_COUNT, "N", NULL, "1",
     "With DATA: the row (counted from 1) from which the traversals start.", CLI_TRAVERSE,
     analysis_group},
    {OPT_LATENTS, "latents", 0, CLI_TEXT, "LIST", NULL, "the active ones, at most 10",
     "Which latents, counted from 0, the strongest: 0-9, or 0,3,17.", CLI_TRAVERSE, analysis_group},
    {OPT_STEPS, "steps", 0, CLI_COUNT, "N", NULL, "7",
     "Points along each latent, equally far apart in y.", CLI_TRAVERSE, analysis_group},
    {OPT_RANGE, "range", 0, CLI_TEXT, "R[sd|y]", NULL, "3sd",
     "How far to go to either side: in standard deviations of the latent's y (2 or 2sd), or in y "
     "itself (0.5y).",
     CLI_TRAVERSE, analysis_group},

    /* ---- stability, drift ---- */
    {OPT_SEEDS, "seeds", 0, CLI_COUNT, "N", NULL, "10",
     "How many runs; their seeds count up from --seed.", CLI_STABILITY, analysis_group},
    {OPT_MATCH, "match", 0, CLI_SHARE, "R", NULL, "0.9",
     "A latent is found in a run that has one whose |correlation| with it is R or more.",
     CLI_STABILITY, analysis_group},
    {OPT_SAME_SPLIT, "same-split", 0, CLI_FLAG, NULL, NULL, "each run holds out other rows",
     "All runs hold out the same rows, those of the first; latents are then compared on them.",
     CLI_STABILITY, analysis_group},
    {OPT_RUNS, "runs", 0, CLI_TEXT, "DIR", NULL, "a folder that is removed at the end",
     "Keep the models of all runs in this folder, made where absent; runs that are there are not "
     "made again.",
     CLI_STABILITY, output_group},
    {OPT_ALPHA, "alpha", 0, CLI_SHARE, "P", NULL, "0.05",
     "The chance of an alarm where nothing has changed, over all tests together.", CLI_DRIFT,
     analysis_group},

    /* ---- data ---- */
    {OPT_COLUMNS, "columns", 0, CLI_TEXT, "LIST", NULL, "all numeric columns",
     "Columns to use: names (a,b,c) or numbers counted from 1 (1-16,20).", READS_DATA, data_group},
    {OPT_DROP, "drop", 0, CLI_TEXT, "LIST", NULL, NULL, "Columns to leave out, likewise.",
     READS_DATA, data_group},
    {OPT_CATEGORICAL, "categorical", 0, CLI_TEXT, "LIST|auto", NULL, NULL,
     "Columns of a CSV that hold words: each becomes one feature for each of its values, "
     "COLUMN=VALUE, "
     "1 or 0. auto: all columns that are not numeric. The model keeps the values; what is new in "
     "later data becomes zeros, with a note.",
     CLI_FIT, data_group},
    {OPT_ID, "id", 0, CLI_TEXT, "COLUMN", NULL, "row numbers", "Column that names the rows.",
     READS_DATA, data_group},
    {OPT_MISSING, "missing", 0, CLI_CHOICE, "error|row", NULL, "error",
     "What a missing value is: an error, or a row that is left out and keeps a status.", READS_DATA,
     data_group},
    {OPT_HEADER, "header", 0, CLI_FLAG, NULL, NULL, "found by looking",
     "The first line of a CSV file names the columns.", READS_DATA | CLI_DECODE, data_group},
    {OPT_NO_HEADER, "no-header", 0, CLI_FLAG, NULL, NULL, NULL,
     "The first line of a CSV file holds data.", READS_DATA | CLI_DECODE, data_group},

    {OPT_SIZE, "size", 0, CLI_TEXT, "H[xW]", NULL, "that of the pictures; the model's",
     "Pictures: bring all to this size in pixels, antialiased.", READS_DATA, data_group},
    {OPT_CROP, "crop", 0, CLI_TEXT, "none|center|H,W,TOP,LEFT", NULL, "none",
     "Pictures: take this part of each first; center is the largest square.", READS_DATA,
     data_group},
    {OPT_GREY, "grey", 0, CLI_FLAG, NULL, NULL, "RGB where any picture has color",
     "Pictures: luma alone.", READS_DATA, data_group},
    {OPT_STRICT, "strict", 0, CLI_FLAG, NULL, NULL, NULL,
     "Pictures: a file that cannot be used is an error; else it is left out with a note.",
     READS_DATA, data_group},
    {OPT_MEMORY, "memory", 0, CLI_TEXT, "SIZE", NULL, "half of the machine's, at most 8GB",
     "More rows than fit in this (500MB, 2GB) lie in a row cache file and are read as they are "
     "needed.",
     READS_DATA, data_group},
    {OPT_CACHE, "cache", 0, CLI_TEXT, "DIR", NULL, "a temporary file in TMPDIR",
     "Keep row caches in this folder; one of the same data and options is used again.", READS_DATA,
     data_group},

    /* ---- general ---- */
    {OPT_SEED, "seed", 's', CLI_NATURAL, "N", NULL, "0",
     "Of everything random: weights, noise, shuffling, held-out rows. Equal seeds give equal "
     "bytes.",
     TRAINS | CLI_SWEEP | CLI_DEMO, general_group},
    {OPT_SEED, "seed", 's', CLI_NATURAL, "N", NULL, "0", "Of everything random.",
     CLI_REPORT | CLI_SAMPLE | CLI_AUDIT, general_group},
    {OPT_THREADS, "threads", 't', CLI_COUNT, "N", NULL, "one per processor",
     "Threads. The result does not depend on their number.", COMPUTES, general_group},
    {OPT_ISA, "isa", 0, CLI_TEXT, "NAME", NULL, "the best this processor has",
     "Instruction set of the arithmetic: baseline, avx2 or avx512; naming one makes runs on "
     "different "
     "processors agree.",
     COMPUTES, general_group},
    {OPT_QUIET, "quiet", 'q', CLI_FLAG, NULL, NULL, NULL, "No progress and no notes; errors only.",
     ALL, general_group},
    {OPT_VERBOSE, "verbose", 'v', CLI_FLAG, NULL, NULL, NULL,
     "Say more on standard error; progress as lines where it is no terminal.", ALL, general_group},
    {OPT_HELP, "help", 'h', CLI_FLAG, NULL, NULL, NULL, "Show this help.", ALL, general_group},
};
const size_t cli_n_options = sizeof cli_options / sizeof cli_options[0];
