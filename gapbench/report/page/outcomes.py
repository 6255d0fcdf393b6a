"""What became of a model that was trained on, as the page of its runs shows it: verdicts, plateau, and kept forecasts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from gapbench.projection.results import MEASUREMENT
from gapbench.report.page.cells import (
    NOTHING,
    Cell,
    Table,
    count_cell,
    minus,
    number_cell,
    p_cell,
    texts,
    value_cell,
)
from gapbench.report.page.content import domain_name
from gapbench.report.page.outlook import Said
from gapbench.report.page.parts import Part
from gapbench.report.page.svg import draw
from gapbench.report.text import number, one_line, percent
from gapbench.report.trajectory_figures import trajectory_figures
from gapbench.report.trajectory_text import (
    further_sentences,
    guard_word,
    plateau_sentences,
    skill_sentences,
    status_words,
)
from gapbench.run import Run
from gapbench.trajectory.checkpoints import Outcome, Share, Verdict
from gapbench.trajectory.guards import Guard, State
from gapbench.trajectory.outcome import DELTA, trajectory
from gapbench.trajectory.runs import checkpoints_of
from gapbench.trajectory.scored import ForecastScore, counted, score_forecasts

MEANINGS: dict[Verdict, str] = {
    "BEYOND-BASE": "the tuned model solves prompts more often than M responses of the base would; that is no “new capability”",
    "REGRESSION": f"what was lost, averaged over all prompts, is more than {DELTA:g} by the low end of its interval",
    "MIXED": "some prompts went beyond the base, and on others more was lost than matters",
    "SHARPENING-CONSISTENT": f"at most {DELTA:g} of the gain can be beyond what the base already found in M responses",
    "UNDERPOWERED": "too few base responses or prompts to tell doing more often what the base could do from going beyond it",
    "REFUSED": "guessing alone solves too many of these prompts for the test to mean anything",
}
STATES: dict[State, str] = {
    "simulated": "simulation",
    "applied": "applied",
    "not_measured": "not measured",
    "not_applicable": "not applicable",
}


def training(runs: Sequence[Run]) -> Part:
    """Whether training gained more than its base held, where it levels off, and what became of kept forecasts.

    Raises
    ------
    UserError
        If the runs cannot be checkpoints of one model.
    """
    domains, notes = checkpoints_of(runs)
    found = trajectory(domains, seed=runs[0].config.seed)
    scores, unscored = score_forecasts(runs)
    said: list[Said] = [
        (MEASUREMENT, f"{verdict}: {MEANINGS[verdict]}.")
        for verdict in dict.fromkeys(one.verdict for one in found)
    ]
    said += [
        (kind, f"{one_line(one.domain, 40)}: {text}")
        for one in found
        for kind, text in [*_failed(one), *further_sentences(one), *plateau_sentences(one.plateau)]
    ]
    said += [*skill_sentences(scores), *(("", note) for note in (*notes, *unscored))]
    tables = [_outcomes(found)]
    folded = [("The guards of these verdicts", _guards(found))]
    if kept := counted(scores):
        tables.append(_by_origin(kept))
    if scores:
        folded.append((f"Each of {len(scores)} forecasts that were kept, and what came", _forecasts(scores)))
    return Part(
        lead=f"From the base, t = 0, to the last of {len(runs) - 1} checkpoints, on the prompts that all of them answered.",
        tables=tuple(tables),
        said=tuple((kind, minus(one_line(text, 600))) for kind, text in said),
        figures=draw(trajectory_figures(domains, found, scores), "together-"),
        folded=tuple(folded),
    )


def _outcomes(found: Sequence[Outcome]) -> Table:
    rows = tuple(
        (
            *texts(domain_name(one.domain), one.label),
            _share(one.decomposition.gain, signed=True),
            _share(one.decomposition.sharpened),
            _share(one.decomposition.beyond)
            if one.test.M
            else Cell("not tested", kind="word", order=math.nan),
            _share(one.decomposition.regressed),
            count_cell(one.test.M) if one.test.M else NOTHING,
            p_cell(one.test.p_adjusted),
            Cell(status_words(one.plateau), kind="long"),
        )
        for one in found
    )
    caption = (
        "What training did to accuracy, with 95 % intervals: gain = sharpened + beyond − regressed. Sharpened: what the base could do "
        "already, done more often. Beyond: more than M base responses would have found; where it was not tested it is part of "
        "sharpened. p: one-sided, that no prompt went beyond, adjusted over the domains. Plateau: a projection of accuracy over "
        "the checkpoints."
    )
    parts = ("Gain", "Sharpened", "Beyond", "Regressed", "M", "p", "Plateau (projection)")
    return Table("t-outcomes", caption, ("Domain", "Verdict", *parts), rows, 2)


def _share(share: Share, *, signed: bool = False) -> Cell:
    if not math.isfinite(share.value):
        return NOTHING
    return value_cell(share.value, share.low, share.high, signed=signed)


def _failed(found: Outcome) -> list[Said]:
    """The guards that fail: the others are in their table."""
    return [
        (
            MEASUREMENT,
            f"Guard, {guard.name.replace('_', ' ')}: {_word(guard)}, {number(guard.value)}, {guard.note}.",
        )
        for guard in found.guards
        if guard.passed is False
    ]


def _guards(found: Sequence[Outcome]) -> Table:
    rows = tuple(
        (
            *texts(domain_name(one.domain), guard.name.replace("_", " ")),
            *(Cell(_word(guard)), number_cell(guard.value), Cell(one_line(guard.note, 300), kind="long")),
        )
        for one in found
        for guard in one.guards
    )
    caption = "What could make a verdict wrong, looked at. FAILS: do not trust the verdict on that account."
    return Table("t-guards", caption, ("Domain", "Guard", "Reads as", "Value", "What it is"), rows, 2)


def _word(guard: Guard) -> str:
    state = STATES.get(guard.state, "")
    if guard.passed is None and state:
        return state
    return f"{guard_word(guard)} ({state})" if state else guard_word(guard)


def _by_origin(kept: Sequence[ForecastScore]) -> Table:
    rows = []
    for verifier in dict.fromkeys(one.verifier for one in kept):
        for origin in sorted({one.origin for one in kept if one.verifier == verifier}):
            own = [one for one in kept if (one.verifier, one.origin) == (verifier, origin)]
            held = [one.inside for one in own if one.inside is not None]
            rows.append(
                (
                    *texts(one_line(verifier, 40) or "–", f"t = {origin:g}"),
                    count_cell(len(own)),
                    number_cell(fmean(abs(one.error) for one in own)),
                    number_cell(fmean(abs(one.last) for one in own)),
                    number_cell(fmean(one.error for one in own), signed=True),
                    Cell(percent(fmean(held)), kind="num", order=fmean(held)) if held else NOTHING,
                )
            )
    caption = (
        "Forecasts that were made before the run that they are held against was begun, over single domains and all later times. "
        "Each is of the loop with that verifier: where training followed another one, it need not come true. Nothing changes: the "
        "error of the last accuracy. Held: in how many the outcome lay in the 95 % interval."
    )
    headings = ("Verifier", "Made at", "Forecasts", "Mean absolute error", "Nothing changes", "Bias", "Held")
    return Table("t-forecast-origins", caption, headings, tuple(rows), 2)


def _forecasts(scores: Sequence[ForecastScore]) -> Table:
    rows = tuple(
        (
            *texts(
                domain_name(one.domain),
                one_line(one.verifier, 40) or "–",
                f"t = {one.origin:g}, {one.filter}",
            ),
            Cell(f"t = {one.t:g}", order=one.t),
            value_cell(one.value, one.low, one.high),
            number_cell(one.outcome),
            number_cell(one.error, signed=True),
            number_cell(one.last, signed=True),
            Cell({True: "yes", False: "no", None: "–"}[one.inside]),
            Cell("yes" if one.beforehand else "not known: proves nothing"),
        )
        for one in scores
    )
    caption = (
        "Every forecast of accuracy with its 95 % interval, and what was measured. Held: the outcome lay in the interval, widened by "
        "the luck of its own responses. Beforehand: made before the run that it is held against was begun."
    )
    made = ("Domain", "Verifier", "Made at", "For", "Forecast", "Measured")
    headings = (*made, "Error", "Error if nothing changed", "Held", "Beforehand")
    return Table("t-forecasts", caption, headings, rows, 3)
