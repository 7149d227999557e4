/* The commands: what they are called, what they say of themselves, and who does the work. */
#include "cli.h"

#include <string.h>

const cli_command cli_commands[] = {
    {CLI_DEMO, "demo", "", "the main job on data with known truth, nothing to download",
     "Trains a VAE on toy:mixa (20,000 rows in 16 dimensions that lie on three independent axes "
     "with "
     "variances 1 : 4 : 16), then reports on fresh rows and sets every number beside the truth: "
     "how "
     "important each latent is, like a PCA eigenvalue, how probable each point is, in nats, and "
     "how "
     "far the model is from the optimum that theory predicts.\n\n"
     "Leaves the model and the report as a page, as JSON, and as text on standard output.",
     "isovae demo\tinto the folder isovae-demo\nisovae demo -o /tmp/demo -s 7\tanother seed", 0, 0,
     cmd_demo},
    {CLI_FIT, "fit", "DATA -o MODEL", "train a VAE and write the model file",
     "DATA is a .csv or .tsv file (also .gz; - reads CSV from standard input), .npy, .npz "
     "(FILE.npz:KEY), HDF5 (FILE.h5:PATH), AnnData (.h5ad, FILE.h5ad:layers/NAME), MATLAB "
     "(FILE.mat:NAME), IDX (also .gz), "
     "a folder or zip archive of JPEG and PNG pictures, or a "
     "built-in set with known truth: toy:norm, toy:mix, toy:mixa, toy:ramp, toy:tri, and blobs: "
     "for "
     "images, with options after commas (toy:norm,n=50000,seed=1, blobs:size=32). The format is "
     "found by content; docs/data.md tells all of it.\n\n"
     "The defaults are meant to give a good model as they stand; docs/defaults.md has their table "
     "with reasons. At the end the model is calibrated: latents are sorted by importance, so that "
     "latent 0 is the strongest, and the scores of held-out rows are stored in it.\n\n"
     "Ctrl-C ends the training with a checkpoint, MODEL.ckpt, and says how to go on; a second "
     "Ctrl-C "
     "ends it at once. Equal data, options and seed give the same model, byte for byte, with any "
     "number of threads.",
     "isovae fit table.csv -o m.safetensors\twith all defaults\n"
     "isovae fit table.csv -o m.safetensors --id name --drop label\tcolumns that are no features\n"
     "isovae fit images.npy -o m.safetensors --loss bce\tvalues in [0, 1]\n"
     "isovae fit faces.zip -o m.safetensors --crop center --size 64\tpictures\n"
     "isovae fit toy:norm,n=50000 -o m.safetensors -n 3 -b 0.003 --objective decomposed\tas in the "
     "paper",
     1, 1, cmd_fit},
    {CLI_REPORT, "report", "MODEL DATA", "tell in numbers what a model learned",
     "Prints ten lines and a table of the strongest latents; --html, --json and --csv write the "
     "whole "
     "of it. Columns of DATA are matched to the model's features by name. Where DATA are the rows "
     "of "
     "the training, the report is on those that were held out.",
     "isovae report m.safetensors table.csv\tto the terminal\n"
     "isovae report m.safetensors table.csv --html report.html\tand as a page\n"
     "isovae report m.safetensors table.csv --json - | jq .latents\tfor programs",
     2, 2, cmd_report},
    {CLI_SCORE, "score", "MODEL DATA", "a log density for each row: how probable it is",
     "Columns of the result: id; log_density in nats, in the units of the data, higher = more "
     "probable; residual, the squared distance from the reconstruction in the metric; latent, the "
     "KL of the row in nats; tail_prob, the share of held-out training rows (audited models: of "
     "the audit's rows) with a lower score; "
     "flag, "
     "1 where tail_prob is below --fpr; status, ok or why a row has no score; with --explain also "
     "why: "
     "the features (their share of the squared distance over beta) and latents (their share of the "
     "KL) "
     "that cost the row most, in nats.\n\n"
     "Scores are deterministic: nothing is sampled.",
     "isovae score m.safetensors new.csv -o scores.csv\tevery row\n"
     "isovae score m.safetensors new.csv --fpr 0.001 --explain\twhat is odd about the oddest rows",
     2, 2, cmd_score},
    {CLI_ENCODE, "encode", "MODEL DATA", "coordinates of each row in the latent space",
     "Columns of the result: id, mu0, mu1, ... in order of importance; with --isometric y0, y1, "
     "..., "
     "in which a step of length 1 is a step of length 1 in the data (in the metric); with --sigma "
     "also sigma0, sigma1, ...",
     "isovae encode m.safetensors table.csv -o z.npy\tfor NumPy\n"
     "isovae encode m.safetensors table.csv --isometric -o y.csv\tfor clustering and distances",
     2, 2, cmd_encode},
    {CLI_DECODE, "decode", "MODEL CODES", "data from latent coordinates",
     "CODES has the columns mu0, mu1, ... (with --isometric y0, y1, ...), as encode writes them, "
     "or, "
     "without names, one column per latent. The result is in the units of the data.",
     "isovae decode m.safetensors z.npy -o x.csv\twhat encode wrote", 2, 2, cmd_decode},
    {CLI_SAMPLE, "sample", "MODEL", "new rows like those of the training",
     "Draws z from the prior and decodes it. Equal seeds give equal rows. For image models -o "
     "FILE.png draws them.",
     "isovae sample m.safetensors -n 1000 -o new.csv\ta thousand rows\n"
     "isovae sample m.safetensors --noise\twith the noise of the decoder\n"
     "isovae sample faces.safetensors -n 30 -o faces.png\tas images",
     1, 1, cmd_sample},
    {CLI_TRAVERSE, "traverse", "MODEL [DATA]", "what each latent does to the features",
     "Steps along each latent in equal steps of the isometric coordinate y, the others held, and "
     "prints the features at each point. Columns: latent, point, y, mu, distance (measured in the "
     "data from the point before, in the metric; at the optimum close to the step in y), then the "
     "features. The steps lie on both sides of y = 0, where mu is 0 and which is the mean of the "
     "prior, and the others are held there; with DATA of the code of --row.\n\n"
     "For image models -o FILE.png draws a sheet: a row of images per latent, the strongest first, "
     "a column per step, and under each gap the measured distance between the two images. Before a "
     "row stand the latent's variance_y and dy, the length of a step in y, which the distances "
     "should have.",
     "isovae traverse m.safetensors\tas a table\n"
     "isovae traverse faces.safetensors -o sheet.png\tas images\n"
     "isovae traverse faces.safetensors faces.npz --row 12 --latents 0-4,20 --steps 11 --range 2 "
     "-o "
     "sheet.png\taround one face",
     1, 2, cmd_traverse},
    {CLI_SWEEP, "sweep", "DATA", "which beta, how many latents: the rate-distortion curve",
     "Trains a VAE at one beta after the other, from small to large, each from the weights of the "
     "one before, and draws distortion over rate: at the optimum the curve's slope is -beta. Tells "
     "at which beta each latent appears, beside PCA's prediction, how many are active, and which "
     "beta answers --target, or, without one, the calibrated rule (beta/2 is the residual variance "
     "per feature, as in fit).\n\n"
     "The chosen beta is trained again from a cold start; -o writes that model. The exit status is "
     "5 where it does not reach what was asked.\n\n"
     "Ctrl-C leaves what is finished in a state file beside the first output, and says how to go "
     "on.",
     "isovae sweep table.csv -o m.safetensors --html sweep.html\twith all defaults\n"
     "isovae sweep faces.zip --size 64 --target psnr=25 -o m.safetensors\tas good as asked, no "
     "more\n"
     "isovae sweep toy:norm,n=20000 --seeds 3 --no-retrain\tthe curve alone, with error bars",
     1, 1, cmd_sweep},
    {CLI_STABILITY, "stability", "DATA",
     "are these latents real? Trains with many seeds and compares",
     "Trains as fit does, with the same options, from --seeds different seeds (other weights, "
     "noise "
     "and held-out rows), and matches the latents of the runs by the best assignment on "
     "|correlation| of their isometric coordinates y on common rows. For each latent: in how many "
     "runs it is found, how well it matches, and the spread of its variance_y over the runs. "
     "Latents that turn into each other from run to run, because their variances are nearly equal, "
     "are one group, and the space that they span is compared, by canonical correlations. The "
     "first "
     "line is made to be quoted.\n\n"
     "Claimed is what is found in nine of ten runs; latents that are not active are not claimed. A "
     "run that diverges has found nothing.\n\n"
     "Each run is kept in a folder when it is done. After Ctrl-C the same command goes on, in the "
     "middle of the run that was stopped.",
     "isovae stability table.csv\tten seeds, all defaults\n"
     "isovae stability table.csv -n 20 --quick --seeds 5 --html stability.html\ta first look\n"
     "isovae stability table.csv --same-split --runs runs -o m.safetensors\tother weights alone; "
     "keep all models, and the most central as m.safetensors",
     1, 1, cmd_stability},
    {CLI_DRIFT, "drift", "MODEL REFERENCE NEW", "has the data changed? Exit status 1 where it has",
     "Compares two sets of rows as the model sees them: each active latent's y, the residual "
     "D(x, Dec(mu)), the score, and beside them each feature and the share of unusable rows. Three "
     "tests of each that need no model of its distribution: a shift (Mann-Whitney), a change of "
     "spread (the same on distances from the median), any change of shape (Kolmogorov-Smirnov). "
     "Their p values are corrected for all of them (Holm, the model's part and the features' at "
     "half "
     "of alpha each): where nothing has changed, an alarm comes with a chance of at most --alpha. "
     "What has changed is told with its size and the features behind it.\n\n"
     "Rows are taken as independent: rows that repeat each other, as neighbours in time do, make p "
     "values too small. Where one of the two is the data that the model was trained on, its "
     "held-out rows alone stand for it in the model's part.\n\n"
     "Exit status: 0 no change found, 1 the data have changed, 2 and above as for all commands.",
     "isovae drift m.safetensors january.csv february.csv\tto the terminal\n"
     "isovae drift m.safetensors old.csv new.csv --alpha 0.001 -q || mail-the-team\tin a script",
     3, 3, cmd_drift},
    {CLI_AUDIT, "audit", "[DATA] [--encoder FILE] [--decoder FILE]",
     "what a VAE that was trained elsewhere learned",
     "Takes encoder and decoder as ONNX files and rows like those of the training, and reports on "
     "them as report does on own models: how important each latent is, what it moves, distortion "
     "and rate, and how far the model is from its optimum. The first line says whether the "
     "networks "
     "see the data as they should: the reconstruction error beside that of the mean and of PCA.\n\n"
     "The posterior's mean and width are found by the outputs' sizes and names, or at the sampling "
     "where it is part of the file; --mu, --logvar and --head tell what is not found. Without "
     "--beta the active latents say what beta was (docs/theory.md); whether training was long "
     "enough cannot be told then.\n\n"
     "Where parts are missing, what rests on them is not told: of an encoder of means alone (a "
     "plain "
     "autoencoder) and of a decoder alone (DATA may be left out then) importance comes from the "
     "decoder's Jacobian, and nothing is said of optimum, rate and densities.\n\n"
     "Not for discrete latents, hierarchies, flows as posterior or learned priors.",
     "isovae audit table.csv --encoder enc.onnx --decoder dec.onnx\tto the terminal\n"
     "isovae audit faces.zip --size 64 --encoder e.onnx --decoder d.onnx --input-range=-1:1 --html "
     "audit.html\tpictures, as a page\n"
     "isovae audit digits.idx --encoder vae.onnx --loss bce --beta 1 --loss-scale mean\tone file, "
     "and the weight as its loss has it\n"
     "isovae audit --decoder dec.onnx\ta decoder alone",
     0, 1, cmd_audit},
    {CLI_EXPORT, "export", "MODEL --onnx DIR", "encoder, decoder and scorer as ONNX files",
     "Writes encoder.onnx (x to mu, logvar and the isometric coordinates y), decoder.onnx (z to x) "
     "and scorer.onnx (x to log_density, as score gives it, with the derivatives of the decoder "
     "written out). x are rows in the units of the data: the scaling is inside. Nothing is sampled "
     "in them, the number of rows is free. Operator set 17; docs/export.md tells the rest.\n\n"
     "Where the distance or the derivative of some layer cannot be written, scorer.onnx is left "
     "out, and why is said. Of an ensemble each member has a folder of its own, and scorer.onnx "
     "gives the mean over them.",
     "isovae export m.safetensors --onnx m\tthree files into the folder m\n"
     "isovae prune m.safetensors -o s.safetensors && isovae export s.safetensors --onnx s\t"
     "without collapsed latents",
     1, 1, cmd_export},
    {CLI_PRUNE, "prune", "MODEL [DATA] -o MODEL", "a smaller model, without its collapsed latents",
     "Drops the latents that tell nothing (those that are not active) from the encoder's heads and "
     "from the decoder's first layers. What the mean of a dropped latent adds there goes into the "
     "layers' biases, so the outputs stay the same where the latent was constant. With DATA the "
     "means are those of its rows (else those of the training), and the change of Dec(mu) on them "
     "is told.\n\n"
     "Scores stay what they were but for the KL of the dropped latents, at most 0.05 nats each on "
     "average; the thresholds in the model are kept.",
     "isovae prune m.safetensors -o small.safetensors\tdrop what is not active\n"
     "isovae prune m.safetensors table.csv -o small.safetensors\tand tell what that changes",
     1, 2, cmd_prune},
    {CLI_INFO, "info", "MODEL", "what a model file holds",
     "Prints shape, metric, beta, scaling, "
     "features, how it was trained and what was found on the training rows.",
     "isovae info m.safetensors\tfor people\nisovae info m.safetensors --json\tfor programs", 1, 1,
     cmd_info},
};
const size_t cli_n_commands = sizeof cli_commands / sizeof cli_commands[0];

const cli_command *cli_find_command(const char *name)
{
    for (size_t i = 0; i < cli_n_commands; i++) {
        if (strcmp(cli_commands[i].name, name) == 0) return &cli_commands[i];
    }
    return NULL;
}
