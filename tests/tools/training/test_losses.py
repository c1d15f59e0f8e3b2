"""The losses compared with values computed by hand, and their invariances."""

import dataclasses
import math

import pytest
import torch
from torch.nn import functional

from tests.support.tiny_training import SIDE, TINY, WARM
from tools.network.factory import make_network
from tools.training.cutmix import Mix, draw_mix
from tools.training.distill import DistillObjective, DistillSettings
from tools.training.losses import arc_face, contrastive, cosine_distance, info_nce, mean_squared, relational, similar_mask
from tools.training.metric import MetricObjective, MetricSettings
from tools.training.objective import Objective
from tools.training.warm import TargetObjective


def unit(*shape, seed=0):
    return functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def number(value):
    return float(value.detach())


def softmax_loss(logits, own):
    return math.log(sum(math.exp(value) for value in logits)) - logits[own]


def test_arc_face_adds_the_margin_to_the_own_angle():
    cosines = torch.tensor([[0.8, 0.3, -0.2], [0.1, 0.6, 0.5]])
    by_hand = [
        softmax_loss([64 * math.cos(math.acos(0.8) + 0.5), 64 * 0.3, 64 * -0.2], 0),
        softmax_loss([64 * 0.1, 64 * 0.6, 64 * math.cos(math.acos(0.5) + 0.5)], 2),
    ]
    loss = arc_face(cosines, torch.tensor([0, 2]), margin=0.5, scale=64.0)
    assert float(loss) == pytest.approx(sum(by_hand) / 2, rel=1e-4)


def test_arc_face_stays_monotonic_where_the_angle_would_exceed_pi():
    own = torch.tensor([[-0.99, 0.0], [-0.95, 0.0]])
    losses = [float(arc_face(row[None], torch.tensor([0]), margin=0.5, scale=8.0)) for row in own]
    assert losses[0] > losses[1]
    assert losses[0] == pytest.approx(softmax_loss([8 * (-0.99 - math.sin(0.5) * 0.5), 0.0], 0), rel=1e-4)


def test_arc_face_excludes_similar_classes_but_never_the_own_one():
    cosines, classes = torch.tensor([[0.5, 0.9, 0.1]]), torch.tensor([0])
    everything = torch.ones(1, 3, dtype=torch.bool)
    reprint = torch.tensor([[False, True, False]])
    without = arc_face(cosines, classes, margin=0.25, scale=32.0, excluded=reprint)
    two = arc_face(torch.tensor([[0.5, 0.1]]), classes, margin=0.25, scale=32.0)
    assert float(without) == pytest.approx(float(two), abs=1e-5)
    assert float(arc_face(cosines, classes, margin=0.25, scale=32.0, excluded=everything)) == pytest.approx(0.0, abs=1e-6)
    assert float(arc_face(cosines[:0], classes[:0], margin=0.25, scale=32.0)) == 0.0


def test_cards_of_one_artwork_or_similar_descriptors_are_not_negatives():
    targets = torch.stack([torch.eye(4)[0], torch.eye(4)[1], functional.normalize(torch.tensor([1.0, 0.2, 0.0, 0.0]), dim=0)])
    found = similar_mask(targets, targets, torch.tensor([5, 5, -1]), torch.tensor([5, 5, -1]), 0.7)
    assert found.tolist() == [[True, True, True], [True, True, False], [True, False, True]]
    far = torch.eye(4)[[2, 3]]
    assert similar_mask(far, far, torch.tensor([-1, -1]), torch.tensor([-1, -1]), 0.7).tolist() == [[True, False], [False, True]]


def test_info_nce_is_a_cross_entropy():
    logits = torch.tensor([[2.0, 1.0, 0.5]])
    assert float(info_nce(logits, torch.tensor([1]), torch.zeros(1, 3, dtype=torch.bool))) == pytest.approx(
        softmax_loss([2.0, 1.0, 0.5], 1)
    )
    hidden = torch.tensor([[True, True, False]])
    assert float(info_nce(logits, torch.tensor([1]), hidden)) == pytest.approx(softmax_loss([1.0, 0.5], 0))


def test_mean_squared_is_twice_the_cosine_distance_of_unit_rows():
    first, second = unit(5, 16, seed=1), unit(5, 16, seed=2)
    assert float(mean_squared(first, second)) == pytest.approx(2.0 * float(cosine_distance(first, second)), rel=1e-5)
    assert float(mean_squared(first, first)) == 0.0


def test_the_relational_loss_is_invariant_to_rotation():
    teacher, student = unit(6, 16, seed=1), unit(6, 16, seed=2)
    turn = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(3)))[0]
    assert float(relational(teacher @ turn, teacher)) == pytest.approx(0.0, abs=1e-10)
    assert float(relational(student @ turn, teacher)) == pytest.approx(float(relational(student, teacher)), rel=1e-4)
    assert float(relational(student, teacher)) > 1e-3
    gap = (student[0] @ student[1] - teacher[0] @ teacher[1]).square()
    assert float(relational(student[:2], teacher[:2])) == pytest.approx(float(gap), rel=1e-4)


def test_reprints_are_not_negatives_of_the_contrastive_loss():
    rows = torch.eye(3, 8)
    twins = torch.stack([rows[0], rows[0], rows[1]])
    alone = float(contrastive(rows, rows, torch.arange(3), scale=24.0))
    assert alone == pytest.approx(math.log(1 + 2 * math.exp(-24.0)), abs=1e-6)
    assert float(contrastive(twins, twins, torch.tensor([4, 4, 5]), scale=24.0)) == pytest.approx(0.0, abs=1e-6)
    assert float(contrastive(twins, twins, torch.arange(3), scale=24.0)) == pytest.approx(2 / 3 * math.log(2), rel=1e-4)


# --- objectives ---


def test_the_warm_start_rewards_the_own_target_and_ignores_reprints():
    network = make_network(TINY)
    targets, groups = torch.eye(4, 768), torch.tensor([0, 1, 2, -1])
    objective = TargetObjective(network, torch.eye(6, 768)[[0, 1, 2, 4, 5]], torch.tensor([0, 1, 2, 4, 5]), WARM.weights)
    right, wrong = (number(objective.losses(rows, (targets, groups))["loss"]) for rows in (targets, targets.roll(1, dims=0)))
    assert right < 0.01
    assert wrong > 1.0

    reprint = functional.normalize(torch.eye(5, 768)[[3]] + 0.1 * torch.eye(5, 768)[[0]])
    one, no_group = torch.tensor([7]), torch.tensor([-1])
    objective = TargetObjective(network, reprint, one, WARM.weights)
    assert number(objective.losses(targets[:1], (targets[:1], one))["loss"]) < 1e-4
    assert number(objective.losses(reprint, (targets[:1], no_group))["loss"]) > 1e-4


def metric_objective(groups=(0, 1, 2, 3)):
    bank = torch.eye(4, 8)
    network = make_network(dataclasses.replace(TINY, dim=8))
    objective = MetricObjective(network, lambda _: bank, bank, torch.tensor(groups), MetricSettings())
    objective.prepare(0, network)
    return objective


def test_the_metric_loss_is_the_sum_of_its_parts_computed_by_hand():
    settings, objective = MetricSettings(), metric_objective()
    targets, rows = torch.eye(4, 8)[:2], torch.tensor([0, 1])
    views = functional.normalize(torch.tensor([[1.0, 0.8], [0.6, 1.0], [1.0, 0.4], [0.7, 1.0]]) @ torch.eye(2, 8))
    parts = {name: number(value) for name, value in objective.losses(views, (targets, rows)).items()}
    proxies = torch.eye(4, 8)
    nce, arc = [], []
    for view in range(4):
        row, pair = view % 2, (view + 2) % 4
        cosines = [float(views[view] @ views[other]) for other in range(4)]
        to_proxies = [float(views[view] @ proxy) for proxy in proxies]
        # the view itself and the proxy of its own card are excluded
        others = [cosines[pair], *(cosines[other] for other in range(4) if other % 2 != row)]
        logits = [24 * value for value in [*others, *(value for place, value in enumerate(to_proxies) if place != row)]]
        nce.append(softmax_loss(logits, 0))
        turned = [32 * value for value in to_proxies]
        turned[row] = 32 * math.cos(math.acos(to_proxies[row]) + 0.25)
        arc.append(softmax_loss(turned, row))
    assert parts["nce"] == pytest.approx(sum(nce) / 4, rel=1e-4)
    assert parts["arc"] == pytest.approx(sum(arc) / 4, rel=1e-3)
    assert parts["align"] == pytest.approx(1 - float((views[:2] * views[2:]).sum(dim=1).mean()), rel=1e-4)
    assert parts["descriptor"] == pytest.approx(1 - float((views * targets.repeat(2, 1)).sum(dim=1).mean()), rel=1e-4)
    weights = (1.0, settings.arc_weight, settings.alignment_weight, settings.descriptor_weight)
    named = (parts["nce"], parts["arc"], parts["align"], parts["descriptor"])
    assert parts["loss"] == pytest.approx(sum(weight * part for weight, part in zip(weights, named, strict=True)), rel=1e-5)


def test_a_reprint_in_the_batch_is_not_a_negative():
    targets, rows = torch.eye(4, 8)[:2], torch.tensor([0, 1])
    same_view = torch.eye(1, 8).repeat(4, 1)
    apart = number(metric_objective((0, 1, 2, 3)).losses(same_view, (targets, rows))["nce"])
    reprints = number(metric_objective((0, 0, 2, 3)).losses(same_view, (targets, rows))["nce"])
    assert reprints < 1e-6
    assert apart > 0.5


def test_a_batch_of_made_up_cards_only_has_gradients():
    parts = metric_objective().losses(unit(4, 8), (torch.eye(8)[[5, 6]], torch.tensor([-1, -1])))
    assert number(parts["arc"]) == 0.0
    parts["loss"].backward()


@pytest.mark.parametrize("losses", [(("mse", 1.0),), (("relational", 2.0), ("mse", 0.5)), (("contrastive", 1.0),)])
def test_distillation_adds_the_selected_losses(losses):
    settings = DistillSettings("hailo", TINY, WARM.course, losses)
    targets = unit(6, 8, seed=4)
    objective = DistillObjective(make_network(TINY), targets, torch.arange(6), settings)
    rows = torch.tensor([3, 1, 5])
    parts = objective.losses(unit(3, 8, seed=5), (rows,))
    assert number(parts["loss"]) == pytest.approx(sum(weight * number(parts[name]) for name, weight in losses), rel=1e-5)
    perfect = objective.losses(targets[rows], (rows,))
    assert number(perfect["cosine"]) == pytest.approx(1.0, abs=1e-6)
    assert number(perfect["loss"]) < 1e-3


# --- CutMix ---


def test_a_mixed_batch_holds_a_box_of_each_partner():
    pixels = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 10, 10)
    mix = Mix(torch.tensor([1, 0, 3, 2]), slice(2, 7), slice(0, 4), 0.8)
    mixed = mix.apply(pixels)
    assert mixed[0, :, 2:7, :4].unique().tolist() == [1.0]
    assert mixed[0].mean() == pytest.approx(0.2)
    assert pixels[0].unique().tolist() == [0.0]
    pair = mix.apply(torch.cat([pixels, 10 + pixels]))
    assert pair[4, 0, 3, 0] == 11.0
    assert pair[4, 0, 9, 9] == 10.0


def test_the_share_of_a_mix_is_that_of_its_pixels():
    generator = torch.Generator().manual_seed(0)
    shares = []
    for _ in range(200):
        mix = draw_mix(6, 32, generator)
        kept = torch.ones(32, 32)
        kept[mix.rows, mix.columns] = 0.0
        assert float(kept.mean()) == pytest.approx(mix.share, abs=1e-6)
        assert sorted(mix.partner.tolist()) == list(range(6))
        shares.append(mix.share)
    assert min(shares) > 0.4
    assert max(shares) < 1.0
    assert 0.6 < sum(shares) / 200 < 0.9


class MeanOfLabels(Objective):
    """A loss that is the mean of its labels, so that the effect of a mix is known."""

    def losses(self, vectors, labels):
        return {"loss": (labels[0] * vectors.detach().norm(dim=1)).mean(), "first": labels[0][0]}


def test_labels_are_mixed_by_area():
    objective = MeanOfLabels(make_network(TINY))
    pixels = torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8)
    mix = Mix(torch.tensor([1, 0]), slice(0, 48), slice(0, 48), 0.75)
    parts = objective(pixels, (torch.tensor([1.0, 9.0]),), mix)
    assert number(parts["first"]) == pytest.approx(0.75 * 1.0 + 0.25 * 9.0)
    assert number(objective(pixels, (torch.tensor([1.0, 9.0]),))["first"]) == 1.0
