"""What judges write, and what they are taken to have said: never more than they committed to."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gapbench.engines.base import Result
from gapbench.records import SCORED, TRUNCATED, UNPARSED, is_error
from gapbench.verifiers._replies import read_score, read_verdict
from gapbench.verifiers.base import verifiers
from gapbench.verifiers.cot_binary import INSTRUCTION, QUESTION, CotBinary
from gapbench.verifiers.cot_score import INSTRUCTION as SCORE_INSTRUCTION
from gapbench.verifiers.cot_score import CotScore

CORRECT = """
Verdict: correct
verdict: correct.
VERDICT: CORRECT!
Verdict : correct
Verdict = correct
Verdict - correct
Verdict — correct
**Verdict:** correct
**Verdict: correct**
*Verdict*: **Correct**.
### Verdict: correct
## Final Verdict⏎⏎Correct
Final verdict⏎correct.
Verdict:⏎correct
Verdict:⏎⏎- correct
Verdict: "correct"
Verdict: `correct`
`Verdict: correct`
"Verdict: correct"
Verdict: \\boxed{correct}
Verdict: $\\text{correct}$
<verdict>correct</verdict>
{"verdict": "correct"}
{"reason": "2 + 2 = 4", "verdict": "correct"}
[Verdict: correct]
Verdict (final): correct
Verdict: yes
Verdict: Yes, it matches.
Verdict: true
Verdict: right.
Verdict: valid
Verdict: correct (2 + 2 = 4)
Verdict: correct - the sum is 4
Verdict: correct — the sum is 4
Verdict: correct, because 2 + 2 = 4.
Verdict: correct because 2 + 2 = 4
Verdict: correct. The proposed answer is correct.
Verdict: correct. The correct answer is 4.
Verdict: The proposed answer is correct.
Verdict: it is correct
Verdict: definitely correct
Verdict: the answer is clearly correct.
The verdict is correct.
My verdict is: correct
My verdict is that 2 + 2 = 4.⏎Verdict: correct
Judgement: correct
Judgment: correct
The sum of 2 and 2 is 4. Verdict: correct
It may look wrong. It is not.⏎Verdict: correct
Is it incorrect? No.⏎Verdict: correct
Verdict: incorrect⏎Wait, I made a mistake: 2 + 2 is 4.⏎Verdict: correct
Verdict: incorrect. Hmm, no. Verdict: correct
Verdict: correct⏎⏎Verdict: correct
Ｖｅｒｄｉｃｔ： ｃｏｒｒｅｃｔ
Verdict: cor​rect
Verdict: ✅ correct
Verdict: correct ✓
Verdict:	correct
Correct
correct.
**Correct**
Yes
Yes.
 yes!
"Yes"
(correct)
True
It is correct.
The sum is 4. The proposed answer is correct.
The sum is 4. Therefore, the proposed answer is correct.
The sum is 4.⏎So the answer is right.
The sum is 4.⏎⏎Correct.
The answer is what the atlas says.⏎⏎**The given answer is correct.**
<think>Verdict: incorrect?</think>Verdict: correct
It is incorrect, I think.</think>Verdict: correct
I was asked for a line. If it were wrong I would write "Verdict: incorrect".⏎Verdict: correct
Verdict: correct⏎(The other choice was "Verdict: incorrect".)
"""

INCORRECT = """
Verdict: incorrect
Verdict: Incorrect.
**Verdict: Incorrect**
Verdict: not correct
Verdict: it is not correct
Verdict: the proposed answer is not right.
Verdict: wrong
Verdict: false
Verdict: untrue
Verdict: invalid
Verdict: no
Verdict: No, it is 5.
Verdict: inaccurate
Verdict: in­correct
Verdict:⏎⏎**Incorrect**
Verdict: incorrect. The correct answer is 4.
Verdict: incorrect (the right answer is Canberra)
Verdict: incorrect, since the correct value is 4 and not 5.
Verdict: incorrect; 5 is wrong.
Verdict: incorrect. It is not correct.
Verdict: incorrect, because the true capital is Canberra, but Sydney was given
The verdict is incorrect.
Verdict: correct ... wait, Verdict: incorrect
Verdict: correct⏎Hold on. 2 + 2 is not 5.⏎Verdict: incorrect
At first I thought: Verdict: correct. But 7 * 8 = 56.⏎Verdict: incorrect
The proposed answer would be correct if x were 3.⏎Verdict: incorrect
incorrect
Incorrect.
**incorrect**
not correct
No
NO.
False
It's wrong.
The sum is 4. The proposed answer is incorrect.
The sum is 4. The proposed answer is not correct.
The sum is 4. Thus, it is wrong.
The capital of Australia is Canberra!⏎Incorrect.
<verdict>incorrect</verdict>
{"verdict": "incorrect"}
<think>This is correct. Verdict: correct</think>⏎⏎Verdict: incorrect
<think>a</think>Verdict: correct<think>no, b</think>Hm.⏎Verdict: incorrect
"""

UNDECIDED = """
Verdict: correct, except for the sign
Verdict: correct⏎On reflection, incorrect.
Verdict: correct⏎I take that back.
Verdict: correct⏎Strike that.
Verdict: correct⏎However, it is not.
Verdict: correct⏎But I have doubts: it may well be incorrect.

.
?
Verdict:
Verdict
Verdict: ?
Verdict: correct?
Verdict: correct or incorrect
Verdict: correct/incorrect
Verdict: correct / incorrect
Verdict: correct|incorrect
Verdict: incorrect or correct
Verdict: "correct" or "incorrect"
`Verdict: correct` or `Verdict: incorrect`
Verdict: correct or Verdict: incorrect
"Verdict: correct" / "Verdict: incorrect"
Verdict: <correct or incorrect>
Verdict: [correct/incorrect]
Verdict: correct, or incorrect
Verdict: correct. Or incorrect.
Verdict: correct (or incorrect)
Verdict: correct, incorrect
Verdict: correct incorrect
Verdict: correct and incorrect
Verdict: correct and also incorrect
Verdict: correct -> incorrect
Verdict: correct—incorrect
Verdict: correct; incorrect
Verdict: neither correct nor incorrect
Verdict: either correct or incorrect
Verdict: both
Verdict: partially correct
Verdict: mostly correct
Verdict: not entirely correct
Verdict: half right
Verdict: 50% correct
Verdict: possibly correct
Verdict: probably incorrect
Verdict: might be correct
Verdict: not sure
Verdict: not sure if correct
Verdict: unclear
Verdict: undetermined
Verdict: unknown
Verdict: cannot be determined
Verdict: correct if x = 2
Verdict: correct, if x = 2
Verdict: correct unless x = 2
Verdict: correct only for x = 2
Verdict: correct. Maybe not.
Verdict: correct, or maybe not
Verdict: correct, but I am not sure
Verdict: correct. Wait.
Verdict: correct⏎Wait, let me check that again.
Verdict: correct⏎Hmm, 2 + 2 is 4.
Verdict: correct⏎Actually, it is 4.
Verdict: correct⏎I cannot tell.
Verdict: correct⏎It is incorrect.
Verdict: correct⏎⏎Incorrect
Verdict: correct⏎Verdict: incorrect
- Verdict: correct⏎- Verdict: incorrect
Verdict: incorrect⏎⏎Verdict: correct
Verdict: correct⏎Verdict: correct or incorrect
Verdict: correct⏎Verdict: unclear
Verdict: not wrong
Verdict: not incorrect
Verdict: isn't wrong
Verdict: correct-ish
Verdict: in correct
Verdict: incorrectly stated
Verdict: correctness
Verdict: correct answer is 4
Verdict: I would need to check whether it is correct
Verdict: politically correct
Verdict: nocorrect
Verdict: C
Verdict: 7
Verdict: 正确
Verdict: true or false
Verdict: yes/no
Verdict: correct. No, it is 4.
Correct or incorrect
correct/incorrect
Correct? Incorrect?
Correct.⏎Incorrect.
Correct. Incorrect.
Yes or no
Yes and no
yes no
Is it correct?
Is the proposed answer correct?
Is the proposed answer correct?⏎No
I think it's correct. Or incorrect.
It is correct. It is incorrect.
It could be correct.
It might be incorrect.
The proposed answer may be correct.
I am not sure whether the proposed answer is correct.
The proposed answer is neither correct nor incorrect.
The proposed answer is partially correct.
The proposed answer is not wrong.
The correct answer is 4.
The answer is 4, which is correct
Let me check the sum: 2 + 2 = 4
2 + 2 = 4.
The statement is untrue in part
Incorrectly
Options:⏎- correct⏎- incorrect
Options:⏎incorrect
The answer is either correct or⏎incorrect
Q: Is ice cold?⏎Proposed answer: yes
The question asks whether ice is cold.⏎⏎Yes.
If the answer is right, Verdict: correct
If it matches, I write Verdict: correct, else Verdict: incorrect.
I should end with a line "Verdict: correct"
I cannot say "Verdict: correct"
The verdict is based on the sum.
The verdict depends on x. Correct for x = 2.
I have no verdict
My verdict: I have none
true or untrue
<think>Verdict: correct</think>
<think>Verdict: correct</think>I do not know.
Verdict: correct</think>
"""

SCORES = {
    7: """
Score: 7
score: 7.
**Score:** 7
**Score: 7**
Score: **7**
### Final Score: 7
Score:⏎7
Score = 7
Score: 7/10
Score: 7 / 10
Score: 7 out of 10
Score: 7 (out of 10)
Score: 7.0
Score: 7.0/10
Score: \\boxed{7}
<score>7</score>
{"score": 7}
Score (1-10): 7
Score out of 10: 7
Rating: 7
Score: 7, because 2 + 2 = 4
Score: 7 - fairly likely
Score: 7 since it is close to 8
The score is 7.
I give it a score of 7.
Score: 3⏎On a second look 2 + 2 is 4.⏎Score: 7
<think>Score: 2</think>Score: 7
I would say 7-8, so more like 7.⏎Score: 7
Score: ７
7
7/10
7 out of 10
**7**
""",
    10: "Score: 10⏎|Score: 10/10|Score: 10.|10/10|Score: 10 out of 10",
    1: "Score: 1|Score: 1/10|Score: 1.",
    None: """
Score: 7, no, 2
Score: 7! = 5040

Score:
Score: X
Score: k
Score: 0
Score: 11
Score: 100
Score: 70/100
Score: 7/100
Score: 7/5
Score: 7%
Score: 7.5
Score: 7½
Score: 7²
Score: -7
Score: +7
Score: 07
Score: 1,000
Score: 7-8
Score: 7–8
Score: 7 - 8
Score: 7—8
Score: 7 to 8
Score: 7 or 8
Score: 7/8
Score: 7, 8
Score: 7, maybe 8
Score: 7 (or 8)
Score: 7?
Score: ~7
Score: between 7 and 8
Score: 1 to 10
Score: 1-10
Score: [1-10]
Score: <1-10>
Score: 7⏎Score: 8
Score: 7⏎8
Score: 7⏎Wait, that is too high.
Score: 7⏎Score: unclear
`Score: 1` up to `Score: 10`
Score: 7 apples
Scores: 7
It deserves 7
between 7 and 8
7-8
7 or 8
2 + 5⏎⏎7
1. The sum is 4.⏎2.
The test scored 7
<think>Score: 7
""",
}


def lines(table: str) -> list[str]:
    return [line.replace("⏎", "\n") for line in table.strip("\n").split("\n")]


VERDICTS = [
    (text, value)
    for table, value in ((CORRECT, 1.0), (INCORRECT, 0.0), (UNDECIDED, None))
    for text in lines(table)
]
SCORE_CASES = [
    (text, value)
    for value, table in SCORES.items()
    for text in lines(table.replace("|", "\n") if value in (1, 10) else table)
]


def reply(text: str, reason: str = "stop") -> Result:
    return Result(("t", "p", 0, "cot-binary", 0), text, None, 9, None, reason)


def test_the_tables_are_as_long_as_promised():
    assert len(VERDICTS) + len(SCORE_CASES) >= 240
    assert len({text for text, _ in VERDICTS}) == len(VERDICTS)


@pytest.mark.parametrize(("text", "value"), VERDICTS)
def test_verdicts(text, value):
    judgement = CotBinary().parse(reply(text))
    assert judgement.score == value
    assert judgement.text == text
    assert (judgement.status == SCORED) == (value is not None)


@pytest.mark.parametrize(("text", "value"), SCORE_CASES)
def test_scores(text, value):
    score = CotScore().parse(reply(text)).score
    assert score == (None if value is None else pytest.approx((value - 1) / 9))


def test_a_cut_reply_counts_only_what_was_complete():
    def status(text: str) -> tuple[float | None, str]:
        judgement = CotBinary().parse(reply(text, "length"))
        return judgement.score, judgement.status

    assert status("2 + 2 is 4.\nVerdict: correct\nThe") == (1.0, SCORED)
    assert status("2 + 2 is 4.\nVerdict: correct\n") == (1.0, SCORED)
    assert status("2 + 2 is 4.\nVerdict: correct") == (None, TRUNCATED)
    assert status("Verdict: correct\nVerdict: incorrect\nVer") == (None, TRUNCATED)
    assert status("2 + 2 is") == (None, TRUNCATED)
    assert status("") == (None, TRUNCATED)
    assert status("<think>a</think>Verdict: incorrect\n\nThis") == (0.0, SCORED)


def test_thinking_that_was_cut_is_truncated_however_it_ended():
    for reason in ("length", "stop"):
        for text in ("<think>Verdict: correct", "Verdict: correct\n<think>or", "<think>\nVerdict: correct\n"):
            judgement = CotBinary().parse(reply(text, reason))
            assert (judgement.score, judgement.status, judgement.text) == (None, TRUNCATED, text)


def test_errors_stay_errors_and_silence_is_unparsed():
    failed = CotScore().parse(reply("", "error:out of memory"))
    assert is_error(failed.status)
    assert CotScore().parse(reply("")).status == UNPARSED


@pytest.mark.parametrize("name", ["cot-binary", "cot-score"])
def test_every_promised_verdict_is_understood(name):
    verifier = verifiers.get(name)()
    scores = [verifier.parse(reply(f"2 + 2 is 4.\n{verdict}")).score for verdict in verifier.verdicts]
    assert scores == pytest.approx([1 - k / (len(scores) - 1) for k in range(len(scores))])


def test_no_prompt_of_ours_is_a_verdict():
    for text in (INSTRUCTION, SCORE_INSTRUCTION, QUESTION, *re.split(r"\n|(?<=\. )", INSTRUCTION)):
        assert read_verdict(text) is None
        assert read_score(text) is None


# Texts made of what judges write. The last thing that an undecided one says of its verdict leaves it open.
WORDS = ("correct", "incorrect", "right", "wrong", "true", "false", "yes", "no", "Correct", "INCORRECT")
REASONS = (
    "2 + 2 = 4.",
    "The capital is Canberra.",
    "The proposed answer could be correct.",
    "It is correct.",
    "It is incorrect!",
    "Is it incorrect?",
    "Verdict: correct",
    "**Verdict:** incorrect",
    "Score: 7",
    "I would say 7/10.",
    "<think>Verdict: correct</think>",
    "- correct",
    "1. yes",
    "",
)
OPEN = (
    "{a} or {b}",
    "{a}/{b}",
    "{a} / {b}",
    "{a}|{b}",
    "{a} and {b}",
    "{a}?",
    "{a}, or {b}",
    "{a}. Or {b}.",
    "{a} ({b}?)",
    "{a} or Verdict: {b}",
    '"{a}" or "{b}"',
    "neither {a} nor {b}",
    "either {a} or {b}",
    "maybe {a}",
    "possibly {a}",
    "partly {a}",
    "not sure if {a}",
    "unclear",
    "I cannot tell",
    "{a}, but I am not sure",
    "{a}\nWait.",
    "{a}\n\nHmm, let me look again.",
    "{a} if x is 2",
    "{a}, unless x is 2",
    "{a}ish",
    "non{a}",
    "{a}-ish",
    "",
    "?",
    "...",
)
MARKERS = (
    "Verdict: ",
    "**Verdict:** ",
    "VERDICT - ",
    "Final verdict:\n",
    "Verdict = ",
    "## Verdict\n\n",
    "verdict: **",
)
word = st.sampled_from(WORDS)
reasons = st.lists(st.sampled_from(REASONS) | st.text(max_size=12), max_size=4).map("\n".join)


@settings(max_examples=3500, deadline=None, derandomize=True)
@given(reasons, st.sampled_from(MARKERS), st.sampled_from(OPEN), word, word)
def test_no_verdict_is_made_of_an_undecided_reply(before, marker, left_open, a, b):
    if "{b}" in left_open and "nor" not in left_open:
        b = "incorrect" if a.casefold() in ("correct", "right", "true", "yes") else "correct"
    text = f"{before}\n{marker}{left_open.format(a=a, b=b)}"
    judgement = CotBinary().parse(reply(text))
    assert judgement.score is None, text
    assert judgement.status in (UNPARSED, TRUNCATED)
    assert judgement.text == text


@settings(max_examples=3500, deadline=None, derandomize=True)
@given(
    st.lists(
        st.sampled_from(
            [*REASONS, *WORDS, *MARKERS, *OPEN, " ", "\n", ".", "not ", "the answer is ", "\\boxed{", "}"]
        )
        | st.text(max_size=8)
    ).map("".join),
    st.sampled_from(["stop", "length"]),
)
def test_a_verdict_needs_a_commitment(text, reason):
    judgement = CotBinary().parse(reply(text, reason))
    assert judgement.score in (0.0, 1.0, None)
    assert (judgement.score is None) == (judgement.status != SCORED)
    if judgement.score is not None:
        said = re.findall(r"[a-z]+", text.casefold())
        assert "verdict" in " ".join(said) or said[-1] in map(str.casefold, WORDS), text
        assert {"correct", "right", "true", "yes", "incorrect", "wrong", "false", "no"} & set(said), text
    number = CotScore().parse(reply(text, reason)).score
    assert number is None or 0 <= number <= 1
    assert number is None or re.search(r"\d", text)


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(
    reasons,
    st.sampled_from(["Score: ", "**Score:** ", "Rating = ", "The score is "]),
    st.sampled_from(
        [
            "{k}-{l}",
            "{k} or {l}",
            "{k} to {l}",
            "between {k} and {l}",
            "{k}?",
            "{k}.5",
            "{k}, maybe {l}",
            "-{k}",
            "{k} {l}",
            "about {k}",
            "0",
            "11",
            "{k}/100",
            "{k}%",
            "unclear",
            "{k}\nWait.",
            "{k}\nScore: {l} or {k}",
        ]
    ),
    st.integers(1, 9),
)
def test_no_score_is_made_of_an_undecided_reply(before, marker, left_open, k):
    # An earlier commitment stands where the last words are no score at all.
    before = before.replace("Score", "").replace("7/10", "")
    text = f"{before}\n{marker}{left_open.format(k=k, l=k + 1)}"
    assert CotScore().parse(reply(text)).score is None, text


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(st.text(), st.sampled_from(VERDICTS), st.sampled_from(["", "\n", " "]))
def test_thinking_never_counts(thought, case, space):
    text, value = case
    thought = re.sub(r"[<>\[\]◁▷|]", "", thought)
    if "think>" not in text:
        assert CotBinary().parse(reply(f"<think>{thought}</think>{space}{text}")).score == value


@pytest.mark.parametrize(
    "piece",
    [
        "Verdict: ",
        "verdict is ",
        '"Verdict: ',
        "Verdict: correct or ",
        "Verdict: correct\n",
        "correct ",
        "correct. ",
        "It is correct. ",
        "not ",
        "\n",
        " ",
        "\n- ",
        "Score: 7, ",
        "7 ",
        "7/10\n",
        "Verdict (",
        "*",
        "<think>",
        "é",
        "wait ",
    ],
)
def test_a_megabyte_takes_no_time(piece):
    text = piece * (10**6 // len(piece))
    for verifier, end in ((CotBinary(), "x"), (CotBinary(), "Verdict: correct"), (CotScore(), "Score: 7")):
        start = time.process_time()
        verifier.parse(reply(text + end))
        assert time.process_time() - start < 10  # .6 s on an idle core; hours if it were quadratic
