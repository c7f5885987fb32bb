from __future__ import annotations

import base64
import platform
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest

from rhoflow.config import Study, load_study
from rhoflow.materials.digests import read_json, write_json
from rhoflow.report import labels
from rhoflow.report.crystals import read_crystals
from rhoflow.report.figures import write_figures
from rhoflow.report.html import one_crystal, write_report
from rhoflow.report.provenance import Code, lineage
from rhoflow.report.results import results_frame
from rhoflow.report.runs import Series, read_series
from rhoflow.training.names import BASELINE_LEVELS, LLM, NETWORK_LEVELS

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Tags, attributes and visible text of a page; complains of tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def report(root: Path, study: Study, code: Code, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "report.html"
    write_report(root, out, study=study, code=code)
    return out


@pytest.fixture(scope="module")
def page(report: Path) -> Page:
    return Page(report.read_text(encoding="utf-8"))


def test_page_loads_nothing(page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe", "object", "embed"}
        assert str(attributes.get("src", "data:image/png;base64,")).startswith("data:image/png;base64,")
        assert str(attributes.get("href", "#")).startswith("#")
        assert not {"srcset", "style", "action", "background", "poster"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)


def test_style_loads_nothing(report: Path) -> None:
    style = re.findall(r"<style>(.*?)</style>", report.read_text(), re.S)
    assert len(style) == 1
    assert not re.search(r"url\(|@import|https?:", style[0])


def test_browser_is_told_to_load_nothing(page: Page) -> None:
    policies = [attributes["content"] for _, attributes in page.tags if "http-equiv" in attributes]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_links_within_the_page_arrive(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    links = [str(attributes["href"])[1:] for tag, attributes in page.tags if tag == "a"]
    assert len(ids) == len(set(ids))
    assert set(links) <= set(ids)
    assert "k_vrh" in links


def test_page_tells_the_study(page: Page, root: Path, study: Study, code: Code) -> None:
    for words in (
        "From electron densities to bulk modulus and formation energy",
        "of 114 crystals",
        "Bulk modulus, on 16 test crystals: the best network by validation",
        "over 21 comparisons of 7 models with 3 references",
        "Differences from the references: bulk modulus",
        "n = 65–66 / 32–33 / 16 crystals",
        f"Lineage {lineage(root, study, code).id}.",
        "Leakage check: passed",
        "formula in several parts: 2 (only noted), such as A, B",
        "Made-up CPU 9000, 2 cores, no GPU: 90 runs",
    ):
        assert words in page.text, words


def test_tables_show_the_numbers_of_the_frame(page: Page, root: Path, study: Study) -> None:
    series = read_series(root, study)
    for one in series[:3]:
        _, y_true, y_pred = one.common_test()
        r2 = 1 - ((y_pred - y_true) ** 2).sum(axis=1) / ((y_true - y_true.mean()) ** 2).sum()
        assert f"{r2.mean():.2f} ± {r2.std(ddof=1):.2f}" in page.text


def test_names_from_outside_are_only_text(report: Path, page: Page) -> None:
    text = report.read_text()
    assert "Weird<b>_B2" not in text
    assert "Weird&lt;b&gt;_B2" in text
    assert "Weird<b>_B2" in page.text
    assert "not tilted & <never> were" in page.text


def test_rejected_crystals_are_counted_and_listed(page: Page) -> None:
    assert "2 outside the IQR fences (clean)" in page.text
    assert "All 4 with their reasons" in page.text
    assert "ends after 120 of 46656 values" in page.text


def test_shown_crystal_has_the_median_error(page: Page, root: Path, study: Study) -> None:
    match = re.search(r"Crystal (\S+), ", page.text)
    assert match
    series = {(one.target, one.model, one.level): one for one in read_series(root, study)}
    ids, y_true, y_pred = series["k_vrh", "fusion", "keywords"].common_test()
    errors = pd.Series(abs(y_pred.mean(axis=0) - y_true), index=ids).sort_values()
    assert errors.index[(len(ids) - 1) // 2] == match[1]


def test_shown_crystal_is_of_a_target_with_test_crystals(
    untested: list[Series], whole_small_root: Path, study: Study
) -> None:
    frame, crystals = results_frame(untested, resamples=50), read_crystals(whole_small_root)
    shown = one_crystal(whole_small_root, study, untested, frame, crystals)
    assert shown is not None
    assert shown["chosen_by"] == "Image network, formation energy"
    assert {one["target"] for one in shown["predictions"]} == {"formation energy [eV/atom]"}
    bulk_modulus = [one for one in untested if one.target == "k_vrh"]
    assert one_crystal(whole_small_root, study, bulk_modulus, frame, crystals) is None


def test_report_is_the_same_bytes_every_time(
    root: Path, study: Study, code: Code, report: Path, tmp_path: Path
) -> None:
    write_report(root, tmp_path / "report.html", study=study, code=code)
    assert (tmp_path / "report.html").read_bytes() == report.read_bytes()


def test_drawn_figures_stand_in_the_page(small_root: Path, code: Code) -> None:
    study = load_study({"study": "made-up", "targets": ["k_vrh"], "report": {"bootstrap": 100, "examples": 1}})
    write_figures(small_root, small_root / "figures", study=study)
    (small_root / "figures/slices.png").unlink()
    write_report(small_root, small_root / "report.html", study=study, code=code)
    images = [attributes for tag, attributes in Page((small_root / "report.html").read_text()).tags if tag == "img"]
    assert all(image["alt"] for image in images)
    shown = {base64.b64decode(str(image["src"]).partition(",")[2]) for image in images}
    drawn = {file.name: file.read_bytes() for file in (small_root / "figures").glob("*.png")}
    assert len(drawn) == 8
    assert set(drawn.values()) < shown
    assert len(shown) == 9  # and the one crystal


def test_grid_has_its_tables_in_order(grid_root: Path, grid_study: Study, code: Code, tmp_path: Path) -> None:
    write_report(grid_root, tmp_path / "report.html", study=grid_study, code=code)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    titles = (
        "Differences from the references: bulk modulus",
        "Text level, input and part: bulk modulus",
        "From stage to stage: bulk modulus",
        "One thing changed: bulk modulus",
        "Images against their Fourier magnitudes: bulk modulus",
        "Learning curves: bulk modulus",
        "Text level, input and part: average over the targets",
        "CLIP's trials, texts of the level all",
        "Image and text by text level",
        "What the models see",
    )
    places = [page.text.rindex(title) for title in titles]
    assert places == sorted(places)
    assert "papers" in [attributes.get("id") for _, attributes in page.tags]
    assert "Bulk modulus: By RMSE over 9 validation folds of 3 partitions" in page.text


def test_nothing_at_all_still_writes_a_page(tmp_path: Path, study: Study, code: Code) -> None:
    write_report(tmp_path, tmp_path / "report.html", study=study, code=code)
    text = Page((tmp_path / "report.html").read_text()).text
    assert "No run has predicted the bulk modulus yet" in text
    assert "The leakage check has not run yet" in text


def test_lost_pieces_are_survived(small_root: Path, study: Study, code: Code) -> None:
    for name in ("text", "slices"):
        shutil.rmtree(small_root / name)
    shutil.rmtree(small_root / "runs/image/formation_energy_per_atom")
    (small_root / "dataset/rejected.csv").write_text("material_id,stage,reason,detail\n")
    write_report(small_root, small_root / "report.html", study=study, code=code)
    text = Page((small_root / "report.html").read_text()).text
    assert "No network has run to compare it with" in text
    assert "None: every crystal of the catalog could be used" in text


def test_versions_of_the_runs_stand_apart_from_those_of_the_report(page: Page) -> None:
    runs = page.text.partition("Python 3.11.7 and packages of 90 runs")[2]
    assert runs.strip().startswith("numpy 2.4.6")
    assert f"Python {platform.python_version()} and packages of this report" in runs


def test_a_failed_leakage_check_is_shouted(small_root: Path, study: Study, code: Code) -> None:
    file = small_root / "dataset/leakage.json"
    write_json(file, {**read_json(file), "ok": False})
    write_report(small_root, small_root / "report.html", study=study, code=code)
    assert "Leakage check: FAILED" in Page((small_root / "report.html").read_text()).text


def test_every_model_has_a_name() -> None:
    known = {*labels.NETWORKS, *labels.IN_CONTEXT, *labels.BASELINES}
    assert {*NETWORK_LEVELS, *BASELINE_LEVELS, LLM} <= known


def test_every_field_has_a_name() -> None:
    assert set(labels.FIELDS) == set(get_args(Study.model_fields["field"].annotation))
