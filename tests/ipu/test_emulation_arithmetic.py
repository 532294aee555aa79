"""What the emulated device computes, and when weights cross between it and the host."""

import poptorch
import pytest
import small_networks as networks
import torch


@pytest.fixture(autouse=True)
def _four_ipus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUM_AVAILABLE_IPU", "4")


def test_a_weight_is_rounded_up_as_often_as_it_is_nearer() -> None:
    torch.manual_seed(0)
    # Float16 has 1 and, next above, 1 + 2 ** -10.
    weights = torch.full((100, 100), 1 + 2**-12)
    rounded = poptorch.device.stochastically_rounded(weights).float()
    assert set(rounded.flatten().tolist()) == {1.0, 1 + 2**-10}
    assert (rounded > 1).float().mean().item() == pytest.approx(0.25, abs=0.02)
    exact = torch.tensor([-1.0, 0.0, 0.5, 65504.0])
    assert torch.equal(poptorch.device.stochastically_rounded(exact).float(), exact)


def test_dropout_draws_from_the_device_and_leaves_the_hosts_generator_alone() -> None:
    model = networks.training(torch.nn.Sequential(torch.nn.Dropout(0.5), networks.Chain()))
    batch = networks.rows(3)
    host = torch.get_rng_state()
    model(batch)
    seen = model.rng_state
    model(batch)
    assert torch.equal(torch.get_rng_state(), host)
    assert model.rng_state != seen


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_step_is_one_step_on_the_mean_gradient_of_the_whole_batch(replicas: int) -> None:
    plain, network = networks.Chain(), networks.Chain()
    batch = networks.rows(3 * replicas)
    plain(batch)[0].backward()
    model = networks.training(network, replicas=replicas)
    model(batch)
    model.copyWeightsToHost()
    for expected, found in zip(plain.parameters(), network.parameters()):
        torch.testing.assert_close(found.detach(), (expected - expected.grad).detach())


def test_weights_stay_on_the_device_until_they_are_asked_for() -> None:
    network = networks.Chain()
    before = [parameter.clone() for parameter in network.parameters()]
    model = networks.training(network)
    model(networks.rows(3))
    assert all(torch.equal(old, new) for old, new in zip(before, network.parameters()))
    model.detachFromDevice()
    assert not any(torch.equal(old, new) for old, new in zip(before, network.parameters()))


def test_weights_changed_on_the_host_reach_the_device_when_it_attaches() -> None:
    network = networks.Chain(ipus=(0,))
    model = networks.inference(network)
    model(networks.rows(1))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert model(networks.rows(1))[1].any()
    model.detachFromDevice()
    model.attachToDevice()
    assert not model(networks.rows(1))[1].any()


def test_training_gives_back_the_last_micro_batch_of_each_replica() -> None:
    loss, outputs = networks.training(replicas=2)(networks.rows(6))
    assert loss.shape == (2,)
    torch.testing.assert_close(outputs, networks.Chain()(networks.rows(6))[1][4:].detach())


def test_inference_gives_back_everything_and_64_bit_numbers_as_32_bit_ones() -> None:
    class Places(torch.nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return rows.argmax(1)

    places = poptorch.inferenceModel(Places(), poptorch.Options().deviceIterations(2))(networks.rows(4))
    assert places.tolist() == [3, 3, 3, 3]
    assert places.dtype == torch.int32


def test_half_is_kept_rounded() -> None:
    network = networks.Chain(ipus=(0,)).half()
    model = networks.training(network, accumulation=1)
    model(networks.rows(1).half())
    on_device = list(model._device.module.parameters())
    assert all(torch.equal(weight, weight.half().float()) for weight in on_device)
    model.copyWeightsToHost()
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float16}


def test_the_optimizers_state_goes_through_a_checkpoint() -> None:
    def trained(steps: int, state: object = None) -> object:
        network = networks.Chain()
        optimizer = poptorch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
        if state:
            weights, moments = state
            network.load_state_dict(weights)
            optimizer.load_state_dict(moments)
        model = poptorch.trainingModel(network, networks.options(), optimizer)
        for _ in range(steps):
            model(networks.rows(3))
        model.detachFromDevice()
        return network.state_dict(), optimizer.state_dict()

    straight, resumed = trained(4)[0], trained(2, trained(2))[0]
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_the_loader_makes_batches_of_a_whole_call_and_drops_the_rest() -> None:
    options = networks.options(accumulation=3, replicas=2)
    loader = poptorch.DataLoader(options, networks.rows(13), batch_size=1)
    assert [batch.shape for batch in loader] == [(6, networks.FEATURES)] * 2
