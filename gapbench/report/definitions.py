"""What each number in a report means and where it comes from, in one place."""

from __future__ import annotations

from typing import NamedTuple

SONG = "Song et al. 2024, “Mind the Gap”, arXiv:2412.02674"
STROEBL = "Stroebl et al. 2024, “Inference Scaling fLaws”, arXiv:2411.17501"
GAIN = "arXiv:2512.02304"
CHEN = "Chen et al. 2021, arXiv:2107.03374, for the unbiased estimator"
CONTROL = "gapbench: a control arm"


class Definition(NamedTuple):
    """A quantity in words.

    Attributes
    ----------
    title
        The name as a heading.
    meaning
        Plain words first, then the formula.
    source
        Where it was defined, or that it is this toolkit's own.
    """

    title: str
    meaning: str
    source: str


DEFINITIONS: dict[str, Definition] = {
    "accuracy": Definition(
        "Accuracy",
        "How often a response is right: the mean utility u of a prompt's responses, averaged over prompts. With a "
        "filter it is the same mean over what the filter keeps.",
        "standard",
    ),
    "gap": Definition(
        "Gap (generation-verification gap)",
        "How much accuracy rises when responses are filtered by a verifier's score instead of taken as they come: "
        "E[w u]/E[w] − E[u] for each prompt, w being the filter's weight, averaged over prompts. It depends on the "
        "filter, on n and on the number m of verdicts behind each score; two gaps compare only where all three agree.",
        SONG,
    ),
    "best@n": Definition(
        "best@n",
        "The filter that keeps, of n responses, the one with the highest score. It is averaged exactly over all "
        "subsets of n of the N responses drawn, and over ties.",
        "standard; exact average over subsets and ties by gapbench",
    ),
    "majority@n": Definition(
        "majority@n",
        "The filter that keeps the most frequent answer among n responses; ties are split, and a response without an "
        "answer does not vote.",
        "Wang et al. 2022, self-consistency, arXiv:2203.11171",
    ),
    "threshold": Definition(
        "threshold",
        "The filter that keeps every response whose score reaches a value fixed beforehand. A prompt where nothing "
        "passes has gap 0; it is never dropped.",
        SONG,
    ),
    "soft": Definition(
        "soft",
        "The filter that weights each response by its score (or, for log-probabilities, by their exponential) instead "
        "of choosing.",
        SONG,
    ),
    "pass@k": Definition(
        "pass@k (coverage)",
        "How often at least one of k responses is right: 1 − C(N−c, k)/C(N, k) with c of N right. It is what a perfect "
        "verifier would reach, so it is the ceiling of best@k.",
        CHEN,
    ),
    "relative_gap": Definition(
        "Relative gap",
        "The gap as a share of what is left to gain: mean gap / (1 − mean accuracy), a ratio of means.",
        f"{SONG}; taken as a ratio of means by gapbench, which is the steadier of the two",
    ),
    "relative_gap_per_prompt": Definition(
        "Relative gap, per prompt",
        "The mean over prompts that are not always right of gap / (1 − accuracy) of that prompt.",
        f"{SONG}, Definition 2.2",
    ),
    "oracle_share": Definition(
        "Oracle share",
        "How much of what a perfect verifier would gain this one finds: (best@n − accuracy) / (pass@n − accuracy), at "
        "the same n.",
        "gapbench",
    ),
    "shortfall": Definition(
        "Shortfall",
        "What a perfect verifier would still add: pass@n − best@n. Zero is good here, whereas a gap of zero means no "
        "headroom.",
        "called “generation-verification gap” in Saad-Falcon et al. 2025 (Weaver), arXiv:2506.18203; not the same thing",
    ),
    "auc_within": Definition(
        "AUC within prompts",
        "How often a right response outscores a wrong one to the same prompt, ties counting half. One half is chance. "
        "This is what a per-prompt filter lives on.",
        "standard (Mann-Whitney U), summed within prompts",
    ),
    "auc_between": Definition(
        "AUC between prompts",
        "The same for pairs from different prompts. A high value with a low AUC within means that the verifier knows "
        "which questions are easy, not which answers are right.",
        "standard, over pairs of different prompts",
    ),
    "tpr": Definition("TPR", "Share of right responses that pass the threshold.", "standard"),
    "fpr": Definition("FPR", "Share of wrong responses that pass the threshold.", "standard"),
    "youden": Definition("Youden's J", "TPR − FPR; zero for a verifier that cannot tell.", "Youden 1950"),
    "precision": Definition(
        "Precision", "Share of the responses passing the threshold that are right.", "standard"
    ),
    "precision_ceiling": Definition(
        "Precision ceiling",
        "Precision averaged over prompts: where drawing again until a response passes must end, however large the "
        "budget.",
        STROEBL,
    ),
    "verifier_gain": Definition("Verifier gain", "Precision pooled over all responses − accuracy.", GAIN),
    "gap_pooled": Definition(
        "Gap, pooled",
        "The gap of all responses of all prompts in one pool, E[w u]/E[w] − accuracy. It also counts choosing easy "
        "prompts, which improves no answer.",
        "gapbench; the pooled form of Song et al. 2024",
    ),
    "prompt_mix": Definition(
        "Prompt mix",
        "The part of the pooled gap that is choosing easy prompts: Cov(A, p)/E[A], A being a prompt's accepted share "
        "and p its accuracy.",
        "gapbench",
    ),
    "nothing_passes": Definition(
        "Nothing passes", "Share of prompts of which no response passes the threshold.", "gapbench"
    ),
    "n_star": Definition(
        "n*",
        "The n at which the measured best-of-n curve is highest. Its interval holds every n that may be it.",
        "gapbench, after Gao et al. 2023, arXiv:2210.10760",
    ),
    "over_optimisation": Definition(
        "Over-optimisation",
        "How far accuracy after best-of-N lies below that after best-of-n*: choosing among more responses chose worse "
        "ones. n* is found on one half of the prompts and scored on the other; p is of the one-sided paired test.",
        "gapbench, after Gao et al. 2023, arXiv:2210.10760",
    ),
    "gap_inf": Definition(
        "Gap at endlessly many verdicts",
        "The gap as verdicts per response grow without end, from g(m) = g_inf + b/(m + c) fitted to the measured m. An "
        "extrapolation.",
        "gapbench",
    ),
    "gap_permuted": Definition(
        "Gap, permuted",
        "The gap after shuffling the scores among the responses of each prompt, so that they can know nothing. It must "
        "be zero within its interval; if it is not, the measurement is broken.",
        CONTROL,
    ),
    "gap_pooled_permuted": Definition(
        "Gap, pooled, permuted",
        "The same for the pooled gap, with scores shuffled across all prompts (shuffling within prompts would leave the "
        "prompt mix in place).",
        CONTROL,
    ),
}
