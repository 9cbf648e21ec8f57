"""KalmanNet in plain PyTorch: a batch of trajectories, a loop over time."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mbdl import tracking

from . import peers

LAYERS = ("of_update", "of_evolution", "of_observation", "of_predicted", "wide", "out", "gathered", "back")
UNITS = ("process", "predicted", "innovation")


@dataclass(frozen=True)
class NetworkOfUnits:
    """What the module is made of.

    Args:
        network: the library's network, whose weights are taken.
        model: a linear model, or the Lorenz system, whose states are all observed.
        gain: the nominal gain.
        units: what its correction is multiplied by.
        cell: `nn.GRUCell` in the place of `nn.GRU` on sequences of length one.
    """

    network: tracking.CascadeNetwork
    model: tracking.AbstractModel
    gain: np.ndarray
    units: np.ndarray
    cell: bool

    def module(self) -> Any:
        """The PyTorch module, from observations `[batch, time, observation]` to estimates `[batch, time, state]`."""
        torch = peers.torch()
        nn, normalise, relu = torch.nn, torch.nn.functional.normalize, torch.relu
        cell, (m, n), start = self.cell, self.gain.shape, _tensor(self.model.initial_mean)
        transit, observe = self._maps()
        gain, units = _tensor(self.gain), _tensor(self.units)
        layers, recurrent = self._layers(), self._units()

        class KalmanNet(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layers, self.recurrent = nn.ModuleDict(layers), nn.ModuleDict(recurrent)
                self.register_buffer("gain", gain)
                self.register_buffer("units", units)

            def phi(self, name: str, *inputs: Any) -> Any:
                return relu(self.layers[name](torch.cat(inputs, 1)))

            def unit(self, name: str, hidden: Any, *inputs: Any) -> Any:
                x = torch.cat(inputs, 1)
                if cell:
                    return self.recurrent[name](x, hidden)
                return self.recurrent[name](x[None], hidden[None].contiguous())[1][0]

            def forward(self, ys: Any) -> Any:
                batch = ys.shape[0]
                estimate = before = predicted_before = start.expand(batch, m)
                Q, S = (torch.eye(size, device=ys.device).reshape(1, -1).expand(batch, -1) for size in (m, n))
                P = torch.zeros(batch, m * m, device=ys.device)
                last, estimates = None, []
                for t in range(ys.shape[1]):
                    y, predicted = ys[:, t], transit(estimate)
                    expected = observe(predicted)
                    innovation = y - expected
                    F1, F2 = normalise(y - (expected if last is None else last)), normalise(innovation)
                    F3, F4 = normalise(estimate - before), normalise(estimate - predicted_before)
                    Q = self.unit("process", Q, self.phi("of_update", F4))
                    P = self.unit("predicted", P, Q, self.phi("of_evolution", F3))
                    S = self.unit("innovation", S, self.phi("of_predicted", P), self.phi("of_observation", F1, F2))
                    wide = self.phi("wide", P, S)
                    K = self.layers["out"](wide) / math.sqrt(wide.shape[1])
                    P = self.phi("back", P, self.phi("gathered", S, K))
                    whole = self.gain + self.units * K.reshape(batch, m, n)
                    before, predicted_before, last = estimate, predicted, y
                    estimate = predicted + torch.bmm(whole, innovation[:, :, None])[:, :, 0]
                    estimates.append(estimate)
                return torch.stack(estimates, 1)

        return KalmanNet()

    def _layers(self) -> dict[str, Any]:
        layers = {}
        for name in LAYERS:
            ours = getattr(self.network, name)
            layers[name] = peers.torch().nn.Linear(*ours.weight.shape[::-1])
            layers[name].weight.data, layers[name].bias.data = _tensor(ours.weight), _tensor(ours.bias)
        return layers

    def _units(self) -> dict[str, Any]:
        nn, units = peers.torch().nn, {}
        for name in UNITS:
            ours = getattr(self.network, name)
            end = "" if self.cell else "_l0"
            units[name] = (nn.GRUCell if self.cell else nn.GRU)(ours.input_weight.shape[1], ours.hidden_size)
            for theirs, array in (
                ("weight_ih", ours.input_weight),
                ("weight_hh", ours.hidden_weight),
                ("bias_ih", ours.input_bias),
                ("bias_hh", ours.hidden_bias),
            ):
                getattr(units[name], theirs + end).data = _tensor(array)
        return units

    def _maps(self) -> tuple[Any, Any]:
        """The transition and the observation of a batch of states."""
        torch = peers.torch()
        model: Any = self.model
        if isinstance(model, tracking.LinearGaussian):
            F, H = _tensor(model.transition), _tensor(model.observation)
            return lambda s: s @ F.T, lambda s: s @ H.T
        lorenz = model.transition
        step, order = float(lorenz.step), lorenz.order
        fixed, by_second, by_third = map(_tensor, lorenz_rates(lorenz))
        H = _tensor(model.observation.matrix)

        def transit(states: Any) -> Any:
            rate = step * (fixed + states[:, 2, None, None] * by_third + states[:, 1, None, None] * by_second)
            term = F = torch.eye(3, device=states.device).expand(len(states), 3, 3)
            for j in range(1, order + 1):
                term = torch.bmm(term, rate) / j
                F = F + term
            return torch.bmm(F, states[:, :, None])[:, :, 0]

        return transit, lambda s: s @ H.T


def lorenz_rates(lorenz: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The matrix of the Lorenz system where the state is zero, and what the second and the third state add to it."""
    sigma, rho, beta = (float(value) for value in (lorenz.sigma, lorenz.rho, lorenz.beta))
    fixed = np.array([[-sigma, sigma, 0.0], [rho, -1.0, 0.0], [0.0, 0.0, -beta]], np.float32)
    by_second, by_third = np.zeros_like(fixed), np.zeros_like(fixed)
    by_second[2, 0], by_third[1, 0] = 1.0, -1.0
    return fixed, by_second, by_third


def _tensor(array: Any) -> Any:
    return peers.torch().from_numpy(np.array(array, np.float32)).to(peers.device())
