import numpy as np
import pytest
import torch
from torch import nn

from manylabel.errors import DataError
from manylabel.feed.loaders import Batch
from manylabel.models.heads.base import HeadOutput
from manylabel.train.scoring import score

LOGITS = torch.tensor([[0.0, 1.0], [2.0, -1.0], [-3.0, 0.5], [1.5, 1.5], [0.2, -0.2]])
TARGETS = torch.tensor([[1, 0], [0, 1], [1, -1], [0, 0], [1, 1]], dtype=torch.int8)
KEYS = ["a", "b", "c", "d", "e"]


class Lookup(nn.Module):
    """Returns the requested rows of LOGITS; the branch `half` has half of each."""

    def forward(self, rows):
        assert not self.training
        assert not torch.is_grad_enabled()
        return HeadOutput(LOGITS[rows], branches={"half": LOGITS[rows] / 2}, maps={})


def batches(*orders):
    for order in orders:
        yield Batch(torch.zeros(len(order)), TARGETS[list(order)], torch.tensor(order))


def squares(output, targets):
    return ((output.logits - targets) ** 2).mean()


def run(*orders):
    return score(Lookup(), batches(*orders), KEYS, lambda batch: batch.records, squares)


def test_scores_come_in_the_order_of_the_keys_whatever_the_batches():
    whole, mixed = run([0, 1, 2, 3, 4]), run([4, 2], [0], [3, 1])
    for scored in (whole, mixed):
        np.testing.assert_allclose(
            scored.scores["final"], 1 / (1 + torch.exp(-LOGITS).numpy()), rtol=1e-6
        )
        np.testing.assert_allclose(
            scored.scores["half"], 1 / (1 + torch.exp(-LOGITS / 2).numpy()), rtol=1e-6
        )
        np.testing.assert_array_equal(scored.targets, TARGETS.numpy())
        wanted = ((LOGITS - TARGETS) ** 2).mean()
        assert scored.loss == pytest.approx(float(wanted), rel=1e-6), "the mean over images"


def test_an_image_that_comes_twice_or_not_at_all_is_found():
    with pytest.raises(DataError, match="twice"):
        run([0, 1, 2], [2, 3, 4])
    with pytest.raises(AssertionError, match="1 of 5 images were not scored"):
        run([0, 1], [2, 4])
