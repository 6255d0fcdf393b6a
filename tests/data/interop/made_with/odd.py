"""What may go wrong in a log: a task and samples with names like paths, NaN as metadata, samples that a limit halts."""

from inspect_ai import Epochs, Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig
from inspect_ai.scorer import includes, match
from inspect_ai.solver import generate

OPPOSITES = {"hot": "cold", "big": "small", "up": "down"}


@task
def odd() -> Task:
    """Opposites, each asked four times, with 40 tokens for question and answer."""
    return Task(
        name="dir/../odd name ü",
        dataset=[
            Sample(
                id=f"../{word}/x y",
                input=[
                    ChatMessageSystem(content="Be short."),
                    ChatMessageUser(content=f"Opposite of {word}?"),
                ],
                target=[answer, answer.upper()],
                metadata={"n": 3, "nan": float("nan")},
            )
            for word, answer in OPPOSITES.items()
        ],
        solver=[generate()],
        scorer=[includes(), match(location="any")],
        epochs=Epochs(4),
        token_limit=40,
        config=GenerateConfig(temperature=1.0, max_tokens=24, seed=7),
    )
