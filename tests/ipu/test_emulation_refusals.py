"""The emulation refuses what PopTorch refuses."""

import poptorch
import pytest
import small_networks as networks
import torch
from torch import nn


@pytest.fixture(autouse=True)
def _four_ipus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUM_AVAILABLE_IPU", "4")


def test_it_says_that_it_is_emulated() -> None:
    assert poptorch.__emulated__ is True
    assert poptorch.__version__ == "3.3.0"


def test_a_batch_that_does_not_divide() -> None:
    with pytest.raises(AssertionError, match=r"must be a multiple of .*gradientAccumulation\(3\) = 6"):
        networks.training(replicas=2)(networks.rows(7))


def test_gradient_accumulation_below_the_stages() -> None:
    with pytest.raises(poptorch.Error, match=r"greater than or equal to the number of pipeline stages \(3\)"):
        networks.training(accumulation=2)(networks.rows(2))


def test_the_stage_that_goes_back_to_an_earlier_ipu_counts() -> None:
    back_and_forth = networks.Chain(ipus=(0, 1, 0))
    with pytest.raises(poptorch.Error, match=r"pipeline stages \(5\)"):
        networks.training(back_and_forth, accumulation=4)(networks.rows(4))


def test_shapes_that_change() -> None:
    model = networks.training()
    model(networks.rows(3))
    with pytest.raises(poptorch.Error, match="changed after compilation"):
        model(networks.rows(6))


def test_types_that_change() -> None:
    model = networks.training()
    model(networks.rows(3))
    with pytest.raises(poptorch.Error, match="changed after compilation"):
        model(networks.rows(3).double())


def test_attaching_twice_and_detaching_twice() -> None:
    model = networks.training()
    model.compile(networks.rows(3))
    with pytest.raises(poptorch.Error, match="already attached"):
        model.attachToDevice()
    model.detachFromDevice()
    with pytest.raises(poptorch.Error, match="not attached"):
        model.detachFromDevice()


def test_attaching_what_was_not_compiled() -> None:
    with pytest.raises(poptorch.Error, match="not been compiled"):
        networks.training().attachToDevice()


def test_a_random_state_of_what_was_not_compiled() -> None:
    model = networks.training()
    with pytest.raises(poptorch.Error, match="not been compiled"):
        model.rng_state = [1]
    with pytest.raises(poptorch.Error, match="not been compiled"):
        _ = model.rng_state


def test_a_buffer_bound_anew() -> None:
    with pytest.raises(poptorch.Error, match="Buffer count is reassigned"):
        networks.inference(networks.RebindingCounter())(networks.rows(1))


def test_a_second_block_at_one_module() -> None:
    layer = poptorch.BeginBlock(nn.Linear(1, 1), "first", 0)
    with pytest.raises(RuntimeError, match="already been assigned"):
        poptorch.BeginBlock(layer, "second", 1)
    poptorch.removeBlocks(layer)
    poptorch.BeginBlock(layer, "second", 1)


def test_a_count_of_ipus_that_is_no_power_of_two() -> None:
    network = networks.Chain(ipus=(0, 1, 2))
    exact = networks.options(accumulation=5).autoRoundNumIPUs(False)
    model = poptorch.trainingModel(network, exact, poptorch.optim.SGD(network.parameters(), lr=1.0))
    with pytest.raises(poptorch.Error, match="must reserve a minimum of 4"):
        model(networks.rows(5))


def test_options_once_an_executor_has_them() -> None:
    options = networks.options()
    poptorch.trainingModel(networks.Chain(), options)
    with pytest.raises(AttributeError, match="frozen"):
        options.deviceIterations(2)


def test_an_option_that_poptorch_does_not_know() -> None:
    with pytest.raises(AttributeError, match="no 'deviceIteration'"):
        poptorch.Options().deviceIteration(2)


def test_a_step_of_the_optimizer_on_the_host() -> None:
    with pytest.raises(RuntimeError, match="never on the host"):
        poptorch.optim.AdamW(networks.Chain().parameters()).step()


def test_an_optimizer_of_another_model() -> None:
    model = poptorch.trainingModel(
        networks.Chain(), networks.options(), poptorch.optim.SGD(networks.Chain().parameters(), lr=1.0)
    )
    with pytest.raises(poptorch.Error, match="not a parameter of the model"):
        model.compile(networks.rows(3))


def test_an_optimizer_state_of_another_optimizer() -> None:
    plain = torch.optim.AdamW(networks.Chain().parameters())
    with pytest.raises(RuntimeError, match="Only IPU optimizer states"):
        poptorch.optim.AdamW(networks.Chain().parameters()).load_state_dict(plain.state_dict())


def test_a_serialization_factor_that_does_not_divide() -> None:
    mode = poptorch.MatMulSerializationMode.OutputChannels
    with pytest.raises(RuntimeError, match="5 does not divide 4"):
        poptorch.serializedMatMul(torch.ones(2, 3), torch.ones(3, 4), mode, factor=5)


def test_running_for_an_offline_target() -> None:
    network = networks.Chain()
    offline = networks.options().useOfflineIpuTarget()
    model = poptorch.trainingModel(network, offline, poptorch.optim.SGD(network.parameters(), lr=1.0))
    model.compile(networks.rows(3))
    with pytest.raises(AssertionError, match="offline device"):
        model(networks.rows(3))
