"""The peers, imported only when they are asked for, and the same models in plain PyTorch and in deepinv."""

import importlib
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from .timing import Missing


def torch() -> Any:
    """PyTorch, or `Missing`."""
    try:
        import torch
    except ImportError as error:
        raise Missing(f"not installed ({error})") from error
    return torch


def device() -> str:
    """PyTorch's name for the kind of device that JAX computes on."""
    return "cuda" if jax.default_backend() == "gpu" else "cpu"


def deepinv() -> Any:
    """deepinv, or `Missing`."""
    library = torch()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                import torchvision  # noqa: F401
            except RuntimeError:
                # The registry's torchvision is built for GPUs, and its compiled operators do not load beside a CPU
                # build of PyTorch. deepinv needs none of them: their names are enough for the import.
                names = library.library.Library("torchvision", "DEF")
                for name in ("nms", "qnms"):
                    names.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            import deepinv
    except Exception as error:
        raise Missing(f"cannot be imported ({type(error).__name__}: {error})") from error
    return deepinv


def dynamax(module: str = "linear_gaussian_ssm.inference") -> Any:
    """A module of dynamax, by default its inference for linear Gaussian models, or `Missing`."""
    try:
        return importlib.import_module(f"dynamax.{module}")
    except Exception as error:
        raise Missing(f"cannot be imported ({type(error).__name__}: {error})") from error


def filterpy() -> Any:
    """filterpy's Kalman filters, or `Missing`."""
    try:
        from filterpy import kalman
    except ImportError as error:
        raise Missing(f"not installed ({error})") from error
    return kalman


def qpax() -> Any:
    """qpax, or `Missing`."""
    try:
        import qpax
    except Exception as error:
        raise Missing(f"cannot be imported ({type(error).__name__}: {error})") from error
    return qpax


def cvxpylayers() -> Any:
    """The layer of cvxpylayers for PyTorch, or `Missing`."""
    torch()
    try:
        from cvxpylayers.torch import CvxpyLayer
    except Exception as error:
        raise Missing(f"cannot be imported ({type(error).__name__}: {error})") from error
    return CvxpyLayer


def train(model: Any, xs: Any, targets: Any, learning_rate: float, **options: Any) -> Callable[[], float]:
    """A program that takes one Adam step a call, and returns the loss."""
    library = torch()
    optimiser = library.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=learning_rate, **options)

    def run() -> float:
        optimiser.zero_grad(set_to_none=True)
        loss = library.nn.functional.mse_loss(model(xs), targets)
        loss.backward()
        optimiser.step()
        return loss.item()

    return run


def denoiser(layers: list[tuple[np.ndarray, np.ndarray]]) -> Any:
    """A chain of 3×3 convolutions with rectifiers, from kernels ``[3, 3, in, out]`` and biases."""
    library = torch()
    modules = []
    for kernel, bias in layers:
        conv = library.nn.Conv2d(kernel.shape[2], kernel.shape[3], 3, padding=1)
        conv.weight.data = library.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
        conv.bias.data = library.from_numpy(bias.copy())
        modules += [conv, library.nn.ReLU(inplace=True)]
    return library.nn.Sequential(*modules[:-1])


def unfolded(networks: list[list[tuple[np.ndarray, np.ndarray]]], mask: np.ndarray, step_size: float) -> Any:
    """Proximal gradient descent on masked images ``[batch, 1, height, width]``, a denoiser and a step size a layer."""
    library = torch()

    class Unfolded(library.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.networks = library.nn.ModuleList([denoiser(layers) for layers in networks])
            self.steps = library.nn.ParameterList([library.tensor(step_size) for _ in networks])
            self.register_buffer("mask", library.from_numpy(np.array(mask))[None, None])

        def forward(self, x: Any) -> Any:
            s = self.mask * x
            for network, step in zip(self.networks, self.steps, strict=True):
                s = s - step * self.mask * (self.mask * s - x)
                s = s - network(s)
            return s

    return Unfolded()


def deepinv_unfolded(depth: int, width: int, layers: int, mask: np.ndarray, step_size: float) -> Callable[[Any], Any]:
    """deepinv's unfolded proximal gradient descent with its own DnCNN of the same size in each layer."""
    library, peer = torch(), deepinv()
    model = peer.unfolded.unfolded_builder(
        "PGD",
        params_algo={"stepsize": [step_size] * layers, "g_param": [None] * layers, "lambda": [1.0] * layers},
        trainable_params=["stepsize"],
        data_fidelity=peer.optim.L2(),
        max_iter=layers,
        prior=[
            peer.optim.PnP(denoiser=peer.models.DnCNN(1, 1, depth=depth, nf=width, pretrained=None))
            for _ in range(layers)
        ],
    )
    physics = peer.physics.Inpainting((1, *mask.shape), mask=library.from_numpy(np.array(mask))[None])

    class Bound(library.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Any) -> Any:
            return self.model(x, physics)

    return Bound()


def lista(parameters: dict[str, np.ndarray], dictionary: np.ndarray | None) -> Any:
    """LISTA, or with a dictionary LISTA-CP, on ``[batch, observed]``; parameters are stacked, layers first."""
    library = torch()

    class Lista(library.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, stacked in parameters.items():
                values = [library.nn.Parameter(library.from_numpy(np.array(value))) for value in stacked]
                setattr(self, name, library.nn.ParameterList(values))
            if dictionary is not None:
                self.register_buffer("dictionary", library.from_numpy(np.array(dictionary)))

        def forward(self, x: Any) -> Any:
            count = len(self.threshold)
            size = self.gain[0].shape[0]
            s = x.new_zeros(x.shape[0], size)
            for k in range(count):
                if dictionary is None:
                    v = x @ self.gain[k].T + s @ self.recurrence[k].T
                else:
                    v = s + (x - s @ self.dictionary.T) @ self.gain[k].T
                s = library.sign(v) * library.relu(library.abs(v) - self.threshold[k])
            return s

    return Lista()
