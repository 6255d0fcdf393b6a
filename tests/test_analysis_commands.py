"""`scale`, `project` and `trajectory` as a user calls them: one document, one line for a mistake, figures and forecasts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
    (row,) = document(cli("project", "--series", "rounds.csv", "--horizon", "9", "--json"))["series"]
    assert row["status"] == "identified"
    assert row["plateau_low"] < 0.525 < row["plateau_high"]
    assert [one["t"] for one in row["forecast"]] == [9]
    (tmp_path / "short.csv").write_text("\n".join(SERIES.splitlines()[:4]))
    assert "fewer than 4 points" in cli("project", "--series", "short.csv").stdout.lower()


def test_runs_are_projected_and_compared(cli: Cli, tmp_path: Path) -> None:
    # The second model has the first one's prompts and is right more often.
    for name, ability in (("base", 0.6), ("tuned", 2.0)):
        words = ("-n", "64", "--limit", "30", "-t", "capitals", "--engine-option", f"a={ability}")
        done = cli("run", "starter", "-m", "simulated", "--engine", "simulated", *words, "--out", name)
        assert done.returncode == 0, done.stderr
    found = document(cli("project", "base", "--k", "1000", "--json"))
    yesno = next(row for row in found["rows"] if row["verifier"] == "yesno" and row["domain"] == "factual")
    assert yesno["horizon_rounds"] == 3  # 64 = 4^3
    assert [one["measured"] for one in yesno["coverage"] if one["k"] == 1000] == [False]
    (forecast,) = (tmp_path / "base" / "forecasts").glob("*.json")
    assert json.loads(forecast.read_text())["projection"]["rows"]

    (domain,) = document(cli("trajectory", "base", "tuned", "--json"))["domains"]
    parts = {
        name: domain["decomposition"][name]["value"] for name in ("gain", "sharpened", "beyond", "regressed")
    }
    assert parts["gain"] > 0.1
    assert parts["gain"] == pytest.approx(parts["sharpened"] + parts["beyond"] - parts["regressed"])
    assert domain["test"]["M"] == 8
    assert domain["plateau"]["status"] == "too_few_points"
    (placebo,) = document(cli("trajectory", "base", "base", "--json"))["domains"]
    assert placebo["verdict"] in ("SHARPENING-CONSISTENT", "UNDERPOWERED")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("scale",), "give either RUNs or --table FILE"),
        (("scale", "--table", "none.csv"), "none.csv: no such file"),
        (("project",), "give either RUN or --series FILE"),
        (("project", "--series", "none.csv"), "none.csv: no such file"),
        (("project", "nowhere"), "nowhere: no run here"),
        (("trajectory", "nowhere", "there"), "nowhere: no run here"),
    ],
)
def test_a_mistake_is_one_line(cli: Cli, words: tuple[str, ...], said: str) -> None:
    done = cli(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
