import torch

from rhoflow.models.inputs import ArrayInputs, JointInputs, TokenInputs

TOKENS = [[101, 5, 102], [101, 5, 6, 7, 102], [101, 102]]


def test_batch_has_the_rows_asked_for_in_that_order():
    inputs = ArrayInputs("features", torch.arange(8.0).view(4, 2))
    assert inputs[[3, 1]]["features"].tolist() == [[6.0, 7.0], [2.0, 3.0]]


def test_batch_is_padded_to_its_own_longest_text():
    inputs = TokenInputs(TOKENS, pad=9, n_cut=1)
    assert inputs[[2, 0]]["input_ids"].tolist() == [[101, 102, 9], [101, 5, 102]]
    assert inputs[[1, 2]]["input_ids"].shape == (2, 5)


def test_mask_marks_real_tokens():
    inputs = TokenInputs(TOKENS, pad=9, n_cut=1)
    assert inputs[[2, 0]]["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]


def test_joint_batch_holds_both_kinds_of_the_same_rows():
    joint = JointInputs(ArrayInputs("images", torch.arange(3.0)), TokenInputs(TOKENS, pad=9, n_cut=1))
    batch = joint[[2]]
    assert set(batch) == {"images", "input_ids", "attention_mask"}
    assert batch["images"].tolist() == [2.0]
    assert batch["input_ids"].tolist() == [[101, 102]]
    assert (len(joint), joint.n_cut) == (3, 1)
