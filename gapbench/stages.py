"""sample -> grade -> verify: each stage asks what is missing, does that, and appends rows as they finish.

A stage never looks at what another stage has in memory, only at the store; that is what makes each of them run
alone, and what makes a killed run resumable. Every stage returns the number of rows it added.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from gapbench.engines.base import Engine, Key, Request, Sampling, derive_seed
from gapbench.errors import UserError
from gapbench.graders.base import Grader
from gapbench.progress import track
from gapbench.records import (
    TRUNCATED,
    Grade,
    Prompt,
    Response,
    Verdict,
    error_status,
    is_error,
)
from gapbench.store import RunStore, Writer
from gapbench.verifiers.base import ModelVerifier


@dataclass
class Session:
    """What one stage of one sitting did; recorded in the manifest.

    Attributes
    ----------
    rows
        Rows appended.
    requests, tokens
        Generations asked of the engine, and tokens it generated for them.
    seconds
        Wall time.
    """

    stage: str
    rows: int = 0
    requests: int = 0
    tokens: int = 0
    seconds: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)

    def count(self, status: str) -> None:
        """Add one row of this status; errors are counted under the word alone."""
        self.rows += 1
        word = "error" if is_error(status) else status
        self.statuses[word] = self.statuses.get(word, 0) + 1


def whole(text: str) -> str:
    """Text that any file can hold: half of a surrogate pair, which a cut reply may end in, becomes `?`."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def timed(stage: Callable[..., Session]) -> Callable[..., Session]:
    """Fill in a session's wall time."""

    def run(*args: object, **kwargs: object) -> Session:
        start = time.monotonic()
        session = stage(*args, **kwargs)
        session.seconds = round(time.monotonic() - start, 3)
        return session

    return run


@timed
def sample(
    store: RunStore,
    writer: Writer,
    engine: Callable[[], Engine],
    sampling: Mapping[str, Sampling],
    n: int,
    seed: int,
) -> Session:
    """Draw the responses that are missing, up to `n` for each prompt.

    Parameters
    ----------
    engine
        Gives the engine; called only if something is missing, since loading a model takes long.
    sampling
        For each task, how its tokens are drawn.
    n
        Responses wanted for each prompt.
    seed
        The run's seed; each response's own is derived from it, the task, the prompt and the response's index.
    """
    session = Session("sample")
    prompts = store.rows(Prompt)
    done = store.keys(Response)
    wanted = {
        (p.task, p.prompt_id): [i for i in range(n) if (p.task, p.prompt_id, i) not in done] for p in prompts
    }
    seeds: dict[Key, int] = {}

    def requests() -> Iterator[Request]:
        for prompt in prompts:
            keys: list[Key] = [
                (prompt.task, prompt.prompt_id, i) for i in wanted[prompt.task, prompt.prompt_id]
            ]
            if not keys:
                continue
            own = {key: derive_seed(seed, "response", *key) for key in keys}
            seeds.update(own)
            yield Request(
                prompt.messages, prompt.style, tuple(keys), tuple(own.values()), sampling[prompt.task]
            )

    total = sum(map(len, wanted.values()))
    results = engine().run(requests()) if total else ()
    for result in track("sample", results, total):
        task, prompt_id, index = result.key
        writer.append(
            Response(
                task,
                prompt_id,
                index,
                text=whole(result.text),
                token_ids=result.token_ids,
                n_tokens=result.n_tokens,
                logprob=result.logprob,
                finish_reason=result.finish_reason,
                seed=seeds.pop(result.key),
            )
        )
        session.requests += 1
        session.tokens += result.n_tokens
        session.count(result.finish_reason)
    writer.flush()
    return session


def grade_one(grader: Grader, prompt: Prompt, response: Response) -> Grade:
    """Grade one response.

    An engine's error stays an error and leaves N; a reply cut at the token limit is `truncated`, utility 0, whatever
    stands in it, because an answer inside an unfinished reply is not one the model committed to.
    """
    key = response.task, response.prompt_id, response.response
    if is_error(response.finish_reason):
        return Grade(*key, answer=None, cluster=None, utility=None, status=response.finish_reason)
    if response.finish_reason == "length":
        return Grade(*key, answer=None, cluster=None, utility=0.0, status=TRUNCATED)
    try:
        graded = grader.grade(prompt, response.text)
    except Exception as failure:  # a plug-in's grader may break on one reply; that must not cost the run
        return Grade(*key, None, None, None, error_status(f"grader {type(failure).__name__}: {failure}"))
    return Grade(*key, graded.answer, graded.cluster, graded.utility, graded.status)


@timed
def grade(store: RunStore, writer: Writer, graders: Mapping[str, Grader]) -> Session:
    """Grade the responses that have no grade yet; `graders` maps task to grader."""
    session = Session("grade")
    done = store.keys(Grade)
    prompts = {prompt.key: prompt for prompt in store.rows(Prompt)}
    pending = [response for response in store.rows(Response) if response.key not in done]
    for response in track("grade", pending, len(pending)):
        prompt = prompts.get((response.task, response.prompt_id))
        if prompt is None:
            raise UserError(
                f"{store.path / 'prompts'}: lacks prompt '{response.prompt_id}' of task '{response.task}'; restore the folder"
            )
        row = grade_one(graders[response.task], prompt, response)
        writer.append(row)
        session.count(row.status)
    writer.flush()
    return session


@timed
def verify(
    store: RunStore,
    writer: Writer,
    engine: Callable[[], Engine],
    verifiers: Sequence[ModelVerifier],
    verdicts: int,
    seed: int,
    chosen: Mapping[str, Collection[Key]] = MappingProxyType({}),
) -> Session:
    """Draw the verdicts that are missing.

    Responses with the same text share one request: a deterministic verifier would be asked the same thing twice, and
    the replicates of a sampling one still have seeds of their own. Empty replies and errors get no verdict.

    Parameters
    ----------
    engine
        Gives the engine; called only if something is missing.
    verdicts
        Replicates for each response; a deterministic verifier gives one.
    chosen
        For a verifier, the keys of the responses to ask about (`gapbench.savings`); all where it is not here.
    """
    session = Session("verify")
    done = store.keys(Verdict)
    by_name = {verifier.name: verifier for verifier in verifiers}
    requests = list(_verdict_requests(store, by_name, done, verdicts, seed, chosen))
    seeds = {key: own for request in requests for key, own in zip(request.keys, request.seeds, strict=True)}
    asked = {key: request.keys[0] for request in requests for key in request.keys}
    results = engine().run(requests) if requests else ()
    for result in track("verify", results, len(seeds)):
        task, prompt_id, index, name, replicate = result.key
        judgement = by_name[name].parse(result)
        # One forward pass answers every key of a deterministic request; its token is counted once.
        shared = by_name[name].deterministic and asked[result.key] != result.key
        n_tokens = 0 if shared else result.n_tokens
        writer.append(
            Verdict(
                task,
                prompt_id,
                index,
                name,
                replicate,
                score=judgement.score,
                status=judgement.status,
                text=whole(judgement.text),
                n_tokens=n_tokens,
                judge=engine().model.id,
                seed=seeds[result.key],
            )
        )
        session.requests += not shared
        session.tokens += n_tokens
        session.count(judgement.status)
    writer.flush()
    return session


def _verdict_requests(
    store: RunStore,
    verifiers: Mapping[str, ModelVerifier],
    done: set[Key],
    verdicts: int,
    seed: int,
    chosen: Mapping[str, Collection[Key]],
) -> Iterator[Request]:
    # Ordered by verifier, prompt, response text: neighbours share the longest prefix.
    responses = store.rows(Response)
    prompts = store.rows(Prompt)
    for name, verifier in verifiers.items():
        replicates = 1 if verifier.deterministic else verdicts
        own = chosen.get(name)
        texts = _texts(row for row in responses if own is None or row.key in own)
        for prompt in prompts:
            for text, indexes in texts.get((prompt.task, prompt.prompt_id), {}).items():
                keys = [
                    (prompt.task, prompt.prompt_id, i, name, r) for i in indexes for r in range(replicates)
                ]
                keys = [key for key in keys if key not in done]
                if keys:
                    yield Request(
                        verifier.messages(prompt, text),
                        prompt.style,
                        tuple(keys),
                        tuple(derive_seed(seed, "verdict", *key) for key in keys),
                        verifier.sampling,
                        verifier.labels,
                    )


def _texts(responses: Iterable[Response]) -> dict[tuple[str, str], dict[str, list[int]]]:
    texts: dict[tuple[str, str], dict[str, list[int]]] = {}
    for response in sorted(responses, key=lambda row: row.response):
        text = response.text.strip()
        if text and not is_error(response.finish_reason):
            same = texts.setdefault((response.task, response.prompt_id), {})
            same.setdefault(text, []).append(response.response)
    return texts


def check_needs(engine: Engine, verifiers: Sequence[ModelVerifier]) -> None:
    """Refuse before any model time what the engine cannot do.

    Raises
    ------
    UserError
        If a verifier needs something the engine does not offer.
    """
    for verifier in verifiers:
        for need in sorted(verifier.needs):
            if not getattr(engine.capabilities, need):
                raise UserError(
                    f"verifier '{verifier.name}' needs {need}, which engine '{engine.name}' cannot give"
                )
