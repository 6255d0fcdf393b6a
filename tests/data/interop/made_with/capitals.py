"""Ten capitals, four epochs: `includes` says what is right, the model itself says what it believes."""

from inspect_ai import Epochs, Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.scorer import Score, Target, includes, mean, scorer, stderr
from inspect_ai.solver import TaskState, generate, system_message

COUNTRIES = {
    "France": "Paris", "Italy": "Rome", "Japan": "Tokyo", "Peru": "Lima", "Norway": "Oslo",
    "Kenya": "Nairobi", "Cuba": "Havana", "Turkey": "Ankara", "Australia": "Canberra", "Mongolia": "Ulaanbaatar",
}  # fmt: skip


@scorer(metrics=[mean(), stderr()])
def selfcheck():
    """Ask the model whether its own answer is right: 1 for yes, 0 for no, nothing where it says neither."""

    async def score(state: TaskState, target: Target) -> Score:
        asked = (
            f"Question: {state.input_text}\nProposed answer: {state.output.completion.strip()}\n"
            "Is the proposed answer correct? Reply with one word, Yes or No."
        )
        said = (await get_model().generate(asked, config=GenerateConfig(max_tokens=3))).completion
        word = said.strip().lower()
        value = 1.0 if word.startswith("yes") else 0.0 if word.startswith("no") else float("nan")
        return Score(value=value, explanation=said)

    return score


@task
def capitals() -> Task:
    """What a newcomer might write."""
    return Task(
        dataset=[
            Sample(id=name.lower(), input=f"What is the capital of {name}?", target=capital)
            for name, capital in COUNTRIES.items()
        ],
        solver=[system_message("Answer in a few words."), generate()],
        scorer=[includes(), selfcheck()],
        epochs=Epochs(4, "mean"),
        config=GenerateConfig(temperature=1.0, max_tokens=16, seed=1234),
    )
