"""The report of a run of a million responses: seconds to write it, its size, and seconds until a browser shows it.

    python -m benchmarks.report_size --out results/report/million.json

Makes the run on the simulated engine, unless `--run` names one. Needs selenium, chromium and chromedriver.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.million import write_suite
from gapbench.report.publish import publish, publish_report
from gapbench.run import Run, RunConfig, execute, hardware, libraries

SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
)


def make_run(folder: Path, prompts: int, responses: int, domains: int) -> Run:
    """A run of `prompts` sums in as many domains as are wanted."""
    suite = write_suite(folder, prompts // domains)
    told = yaml.safe_load(suite.read_text())
    (task,) = told["tasks"]
    names = [f"sums-{place}" for place in range(domains)]
    told["tasks"] = [{**task, "name": name, "domain": name} for name in names]
    suite.write_text(yaml.safe_dump(told))
    config = RunConfig(suite=str(suite), model="simulated", engine="simulated", n=responses)
    return execute(config, folder / "run", resume=True)


def timed(do: Any) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    do()
    return round(time.perf_counter() - wall, 2), round(time.process_time() - processor, 2)


def opened(page: Path, times: int) -> dict[str, Any]:
    """Seconds until the page has loaded and painted, in a browser that runs, and in one that is started for it."""
    from selenium import webdriver

    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        raise SystemExit("no chromium with its driver here: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for switch in SWITCHES:
        options.add_argument(switch)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=chromedriver))
    loads, paints = [], []
    try:
        for _ in range(times):
            driver.get("about:blank")
            begun = time.perf_counter()
            driver.get(page.as_uri())
            loads.append(time.perf_counter() - begun)
            paints.append(
                driver.execute_async_script(
                    "const done = arguments[0]; new PerformanceObserver((list) => done(list.getEntries()[0].startTime / 1000))"
                    ".observe({type: 'paint', buffered: true})"
                )
            )
        whole = driver.execute_script("return document.querySelectorAll('section').length")
    finally:
        driver.quit()
    cold = []
    for _ in range(times):
        begun = time.perf_counter()
        subprocess.run([chromium, *SWITCHES, "--dump-dom", page.as_uri()], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)  # fmt: skip
        cold.append(time.perf_counter() - begun)
    return {
        "sections": whole,
        "load_seconds": round(statistics.median(loads), 3),
        "slowest_load_seconds": round(max(loads), 3),
        "first_paint_seconds": round(statistics.median(paints), 3),
        "with_browser_start_seconds": round(statistics.median(cold), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="The report of a million responses.")
    parser.add_argument("--run", type=Path, help="a run that is there already")
    parser.add_argument("--prompts", type=int, default=31_250)
    parser.add_argument("--responses", type=int, default=32, help="for each prompt")
    parser.add_argument("--domains", type=int, default=10)
    parser.add_argument("--times", type=int, default=5, help="how often the page is opened")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        run = (
            Run(chosen.run)
            if chosen.run
            else make_run(folder, chosen.prompts, chosen.responses, chosen.domains)
        )
        found: dict[str, Any] = {
            "hardware": hardware(),
            "libraries": libraries(),
            "load_average": os.getloadavg()[0],
            "responses": run.store.count("responses"),
            "domains": len(run.manifest["tasks"]),
        }
        pages = {"run": run.store.path / "report.html", "report": folder / "report.html"}
        # What `gapbench run` writes at its end, and `gapbench report`, which projects the run too.
        for name, do in (
            ("run", lambda: publish(run)),
            ("report", lambda: publish_report([run], pages["report"])),
        ):
            wall, processor = timed(do)
            found[name] = {
                "wall_seconds": wall,
                "processor_seconds": processor,
                "bytes": pages[name].stat().st_size,
                **opened(pages[name], chosen.times),
            }
            print(name, found[name], flush=True)
        found["peak_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    if chosen.out:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
