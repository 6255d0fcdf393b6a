"""Title and caption of every figure that a page may show, by the name of its file."""

from __future__ import annotations

CAPTIONS: dict[str, tuple[str, str]] = {
    "gap_by_domain": (
        "Gap by domain",
        "Each point is the gap of one verifier at its headline n: accuracy of the response it scores highest − accuracy of a "
        "response taken at random. The line is the 95 % interval over prompts. A hollow marker means that the interval "
        "includes zero. Domains are sorted by their largest gap; “all domains” weighs them equally. What is not "
        "estimable is written, not drawn.",
    ),
    "selection_curves": (
        "Accuracy after choosing among n responses",
        "best@n: the response the verifier scores highest. majority@n: the most frequent answer. pass@n: at least one of n "
        "is right, which is what a perfect verifier would reach. The thin level line is accuracy without choosing. Bands are "
        "95 % intervals of each curve by itself; the curves share their prompts, so they differ more surely than their "
        "overlapping bands suggest: the paired difference is the gap above. The n axis is logarithmic; every panel has its own scale of "
        "accuracy. A verifier that sees all N responses is one point at n = N.",
    ),
    "score_distributions": (
        "Scores of right and of wrong responses",
        "How each verifier's scores are distributed, for right (filled) and for wrong responses (hatched); each of the two sums "
        "to 1. AUC within is how often a right response outscores a wrong one to the same prompt, which the pooled "
        "histograms cannot show. Pairs tied: right and wrong responses to the same prompt with equal scores.",
    ),
    "roc": (
        "ROC curves within prompts",
        "Share of a prompt's right responses that pass against the share of its wrong ones, over all thresholds and averaged over "
        "prompts; the area is AUC within. The grey line is what random scores would give.",
    ),
    "reserves": (
        "Reserve by domain",
        "Gain in accuracy with 95 % intervals. Coverage: what a perfect verifier would get from the same responses (measurement). "
        "Measured: the best measured point of best@n, cross-fitted (measurement). Identified: what the loop gains up to its "
        "horizon (projection, hatched).",
    ),
    "forecast": (
        "Rounds of the loop",
        "Accuracy against rounds. Drawn through, with a 95 % band: up to the horizon, a projection under the assumptions below. On "
        "grey, dotted and hollow: scenarios, of which these data say nothing. Every panel has its own scale.",
    ),
    "coverage_beyond": (
        "Coverage beyond N",
        "pass@k: measured up to N (points, 95 % band), beyond it, on grey, the line of log(−log pass@k) on log k with its 5-95 % "
        "band (projection), and what other models say (sensitivity).",
    ),
    "scaling": (
        "Relative gap against pretraining compute",
        "A point a model with its 95 % interval, families by colour and marker. Lines are fitted within families, with 95 % bands: "
        "of three models a band is wide. Under each panel the absolute gap, with no line fitted.",
    ),
    "slopes": (
        "Change per decade of compute",
        "Slopes with 95 % intervals, by domain and family, pooled (square), and over families (diamond). Hollow: the interval "
        "includes zero. An arrow: it goes on beyond the axis.",
    ),
    "absolute_gap": (
        "Control: the absolute gap",
        "The gap itself, without 1 − accuracy in the denominator, which alone raises the relative gap as models grow. Against p(1 − p), "
        "the room to choose, which is 0 where all answers are right or all are wrong. Bars are 95 % intervals.",
    ),
    "decomposition": (
        "What the gain is made of",
        "Sharpened: what the base could already do, done more often. Beyond: more than M base responses would have found. "
        "Regressed: lost. Cross-fitted, so that they sum to the gain, the black upright line.",
    ),
    "pass_crossing": (
        "pass@k of base and tuned model",
        "Of the first and the last run, with bands of 1.96 standard errors over prompts. Where the base overtakes, training has "
        "narrowed what is found in many attempts; which is ahead goes by the measured curves, whatever their bands.",
    ),
    "checkpoints": (
        "Accuracy over the checkpoints",
        "Points are measured, with 95 % intervals. What is said of a plateau is a projection; t counts the checkpoints, the base is 0.",
    ),
    "forecasts": (
        "Forecasts that were kept, and what came",
        "Dashed, with 95 % bands: the loop with a verifier as forecast from an earlier run. Points: what was measured later. Training "
        "need not have followed that verifier.",
    ),
}
