"""What the language model is shown: training crystals with values, then one other crystal without."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from rhoflow.config import LanguageModelInContext
from rhoflow.dataset.load import View
from rhoflow.density.images import png_bytes
from rhoflow.errors import StudyError
from rhoflow.training.incontext.prompt import choose_examples, write_questions

N = 40
OPTIONS = LanguageModelInContext(model="some-model", examples=3)


@pytest.fixture
def view() -> View:
    random = np.random.default_rng(0)
    part = np.array(["train", "train", "val", "test"] * (N // 4))
    ids = np.array([f"secret-id-{row:02d}" for row in range(N)])
    images = random.uniform(-1, 1, (N, 8, 8)).astype(np.float32)
    return View(ids, part, random.uniform(10, 400, N), images=images, texts=tuple(f"Crystal {k}." for k in range(N)))


def test_every_validation_and_test_crystal_is_asked_for_once(view: View) -> None:
    asked = [one.material_id for one in write_questions(view, "k_vrh", options=OPTIONS, fold=0, seed=0)]
    assert asked == view.ids[view.part != "train"].tolist()


def test_messages_are_role_examples_with_values_and_the_crystal(view: View) -> None:
    question = write_questions(view, "k_vrh", options=OPTIONS, fold=0, seed=0)[0]
    messages = question.body["messages"]
    assert [message["role"] for message in messages] == ["system", *["user", "assistant"] * 3, "user"]
    assert messages[0]["content"].startswith(OPTIONS.role)
    assert "bulk modulus" in messages[0]["content"]
    chosen = choose_examples(view, 3, fold=0, seed=0)
    assert [message["content"] for message in messages[2:7:2]] == [f"{view.y[row]:.4g} GPa" for row in chosen]
    shown = [message["content"][0]["text"] for message in messages[1::2]]
    asked = view.ids.tolist().index(question.material_id)
    assert shown == [f"Crystal {row}." for row in [*chosen, asked]]


def test_images_are_the_crystals_own_png(view: View) -> None:
    question = write_questions(view, "k_vrh", options=OPTIONS, fold=0, seed=0)[0]
    url = question.body["messages"][-1]["content"][1]["image_url"]["url"]
    png = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    assert Image.open(io.BytesIO(png)).size == (8, 8)
    assert png == png_bytes(view.images[view.ids.tolist().index(question.material_id)])


def test_neither_ids_nor_the_asked_value_are_sent(view: View) -> None:
    without = replace(view, y=np.where(view.part == "train", view.y, -12345.678))
    questions = write_questions(view, "k_vrh", options=OPTIONS, fold=0, seed=0)
    assert questions == write_questions(without, "k_vrh", options=OPTIONS, fold=0, seed=0)
    assert "secret-id" not in json.dumps([question.body for question in questions])


def test_examples_come_from_the_training_part_and_follow_fold_and_seed(view: View) -> None:
    sets = [tuple(choose_examples(view, 5, fold=fold, seed=seed)) for fold in (0, 1) for seed in (0, 1)]
    assert len(set(sets)) == 4
    assert set(view.part[list({row for rows in sets for row in rows})]) == {"train"}
    assert sets[0] == tuple(choose_examples(view, 5, fold=0, seed=0))


def test_another_training_crystal_replaces_one_example_at_most(view: View) -> None:
    rows = np.flatnonzero(np.arange(N) != choose_examples(view, 5, fold=0, seed=0)[2])
    fewer = View(view.ids[rows], view.part[rows], view.y[rows])
    before, after = (set(v.ids[choose_examples(v, 5, fold=0, seed=0)]) for v in (view, fewer))
    assert len(before & after) == 4


def test_examples_have_no_order_of_the_view(view: View) -> None:
    turned = View(view.ids[::-1], view.part[::-1], view.y[::-1])
    before, after = (v.ids[choose_examples(v, 5, fold=0, seed=0)].tolist() for v in (view, turned))
    assert before == after


def test_more_examples_than_training_crystals_stop_the_job(view: View) -> None:
    with pytest.raises(StudyError, match=r"llm.examples = 21: the training part of fold 2 has 20 crystals"):
        choose_examples(view, 21, fold=2, seed=0)


def test_no_examples_is_a_question_alone(view: View) -> None:
    options = LanguageModelInContext(examples=0)
    messages = write_questions(view, "k_vrh", options=options, fold=0, seed=0)[0].body["messages"]
    assert [message["role"] for message in messages] == ["system", "user"]


@pytest.mark.parametrize(
    ("changes", "sent"),
    [
        ({}, {"max_tokens": 64, "temperature": 0.0}),
        ({"temperature": None, "answer_limit": "max_completion_tokens"}, {"max_completion_tokens": 64}),
    ],
    ids=["default", "reasoning model"],
)
def test_parameters_are_those_of_the_settings(view: View, changes: dict, sent: dict) -> None:
    options = LanguageModelInContext(model="m", **changes)
    body = write_questions(view, "k_vrh", options=options, fold=0, seed=0)[0].body
    assert {key: value for key, value in body.items() if key != "messages"} == {"model": "m", **sent}
