"""`scale`, `project` and `trajectory` as a user calls them: one document, one line for a mistake, figures and forecasts."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from gapbench.run import Run
from tests.conftest import Cli, document

SERIES = "series,t,value,se\n" + "".join(
    f"gsm,{t},{value},0.005\n" for t, value in enumerate((0.30, 0.40, 0.46, 0.49, 0.505, 0.513, 0.517))
)
POINTS = "domain,model,family,flops,value,se\n" + "".join(
    f"{domain},m{i},a,{10 ** (22 + 0.4 * i)},{0.1 + slope * i + 0.01 * (-1) ** i},0.02\n"
    for domain, slope in (("math", 0.08), ("factual", 0.0))
    for i in range(7)
)


def test_scale_reads_a_table(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text(POINTS)
    done = cli("scale", "--table", "points.csv", "--out", "figures", "--json")
    found = document(done)
    slopes = {row["domain"]: row for row in found["slopes"] if row["family"] == "a"}
    assert slopes["math"]["low"] > 0.1 > 0.05 > slopes["factual"]["high"]
    assert {path.name for path in (tmp_path / "figures").glob("*.png")} == {
        "scaling.png", "slopes.png", "absolute_gap.png",
    }  # fmt: skip
    assert "math" in cli("scale", "--table", "points.csv").stdout


def test_project_reads_a_series(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "rounds.csv").write_text(SERIES)
    words = ("--horizon", "9", "--out", "figures", "--json")
    (row,) = document(cli("project", "--series", "rounds.csv", *words))["series"]
    assert (tmp_path / "figures" / "series.png").stat().st_size > 10_000
    assert row["status"] == "identified"
    assert row["plateau_low"] < 0.525 < row["plateau_high"]
    assert [one["t"] for one in row["forecast"]] == [9]
    (tmp_path / "short.csv").write_text("\n".join(SERIES.splitlines()[:4]))
    assert "fewer than 4 points" in cli("project", "--series", "short.csv").stdout.lower()


def drawn(cli: Cli, name: str, ability: float, seed: int = 0) -> None:
    words = ("-n", "64", "--limit", "30", "-t", "capitals", "--engine-option", f"a={ability}", "--seed", seed)
    done = cli("run", "starter", "-m", "simulated", "--engine", "simulated", *words, "--out", name)
    assert done.returncode == 0, done.stderr


def test_runs_are_projected_and_compared(cli: Cli, tmp_path: Path) -> None:
    drawn(cli, "base", 0.6)
    found = document(cli("project", "base", "--k", "1000", "--json"))
    yesno = next(row for row in found["rows"] if row["verifier"] == "yesno" and row["domain"] == "factual")
    assert yesno["horizon_rounds"] == 3  # 64 = 4^3
    assert [one["measured"] for one in yesno["coverage"] if one["k"] == 1000] == [False]
    (forecast,) = (tmp_path / "base" / "forecasts").glob("*.json")
    assert json.loads(forecast.read_text())["projection"]["rows"]

    time.sleep(1.1)  # times are told in seconds, and a forecast of the same second is not one made before
    drawn(cli, "tuned", 2.0)  # the same prompts, right more often
    assert cli("project", "base", "--name", "late").returncode == 0
    told = document(cli("trajectory", "base", "tuned", "--verifier", "yesno", "--json"))["forecasts"]
    rows = {(one["forecast"] == "late", one["domain"]): one for one in told}
    assert len(rows) == len(told) == 2  # one domain, so that there is no row over all
    early = rows[False, "factual"]
    right = Run(tmp_path / "tuned").panels()[0].utility
    assert early["outcome"] == pytest.approx(float(right.mean(axis=1).mean()))
    first = next(one for one in yesno["rounds"] if one["t"] == 1)
    assert early["value"] == pytest.approx((first["fresh"] or first["fixed"])["value"])
    assert early["error"] == pytest.approx(early["value"] - early["outcome"])
    assert early["last"] == pytest.approx(yesno["accuracy"]["value"] - early["outcome"])
    assert early["beforehand"]
    assert not rows[True, "factual"]["beforehand"]
    done = cli("trajectory", "base", "tuned", "--out", "figures")
    said = " ".join(done.stdout.split())
    assert "proves nothing" in said
    assert "skill against" in said
    assert "simulation Guard, positive control" in said
    assert {path.stem for path in (tmp_path / "figures").glob("*.png")} == {
        "decomposition", "pass_crossing", "checkpoints", "forecasts",
    }  # fmt: skip
    # Half a round is no round.
    assert (
        document(cli("trajectory", "base", "tuned", "--clock", "0", "--clock", "0.5", "--json"))["forecasts"]
        == []
    )

    (domain,) = document(cli("trajectory", "base", "tuned", "--json"))["domains"]
    parts = {
        name: domain["decomposition"][name]["value"] for name in ("gain", "sharpened", "beyond", "regressed")
    }
    assert parts["gain"] > 0.1
    assert parts["gain"] == pytest.approx(parts["sharpened"] + parts["beyond"] - parts["regressed"])
    assert domain["test"]["M"] == 8
    assert domain["plateau"]["status"] == "too_few_points"
    drawn(cli, "again", 0.6, seed=1)
    (placebo,) = document(cli("trajectory", "base", "again", "--json"))["domains"]
    assert placebo["verdict"] in ("SHARPENING-CONSISTENT", "UNDERPOWERED")
    forecast.write_text(forecast.read_text().replace('"filter": "best@4"', '"filter": "best@2"', 1))
    refused = cli("trajectory", "base", "tuned")
    assert refused.returncode == 2
    assert "changed after it was made" in refused.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("scale",), "give either RUNs or --table FILE"),
        (("scale", "--table", "none.csv"), "none.csv: no such file"),
        (("project",), "give either RUN or --series FILE"),
        (("project", "--series", "none.csv"), "none.csv: no such file"),
        (("project", "nowhere"), "nowhere: no run here"),
        (("trajectory", "nowhere", "there"), "nowhere: no run here"),
        (("project", "nowhere", "--horizon", 3), "are about a series"),
        (("project", "--series", "none.csv", "--k", 8), "are about a RUN"),
        (("trajectory", "nowhere", "there", "--worth", 2), "--worth"),
    ],
)
def test_a_mistake_is_one_line(cli: Cli, words: tuple[str, ...], said: str) -> None:
    done = cli(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
