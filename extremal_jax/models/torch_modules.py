"""PyTorch modules as functions of JAX arrays, by torchax, which computes PyTorch's operations in JAX."""

from __future__ import annotations

import collections
import contextlib
import copy
import functools
import importlib
import importlib.metadata
import re
import threading
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Float, Num

from extremal_jax.boundary.images import check_images, check_model_input
from extremal_jax.boundary.targets import Classes
from extremal_jax.graph.contents import contents
from extremal_jax.ground.checks import quoted
from extremal_jax.ground.pytrees import pytree
from extremal_jax.models.naming import SelfNamed, named_outputs

_INSTALL = "`pip install 'extremal-jax[torch]'` installs versions that work together: torch 2.12 and torchax 0.0.13"
_WRAP = "wrap it in a torch.nn.Module whose forward returns the scores, such as"
_ONE_AT_A_TIME = threading.RLock()  # a call sets the tensors of a module
_TENSORS = ("_parameters", "_buffers", "_modules")  # the attributes of a module that hold tensors, and modules that do


@pytree(static=("classes", "activations", "program"))
class TorchModel(SelfNamed):
    """A PyTorch module in inference mode as a function (B, H, W, C) -> (B, classes), and a pytree of its arrays.

    A fully convolutional module returns scores at each place: (B, H, W, C) -> (B, h, w, classes). The module computes in the
    type of its weights; the scores have the type of the images.

    Attributes:
      arrays: the parameters and buffers by their names in PyTorch. `dataclasses.replace(model, arrays=...)` sets others.
      classes: the names of the classes, in the order of the scores; None if they have no names.
      activations: the paths of the submodules whose outputs can be named in `at=`, in the order of computation.
      program: the module without its tensors.
    """

    arrays: Mapping[str, Any]
    classes: tuple[str, ...] | None
    activations: tuple[str, ...]
    program: Skeleton

    __eq__, __hash__ = object.__eq__, object.__hash__  # so that `jax.jit(model)` works

    def __call__(self, images: Num[Any, "B H W C"]) -> Float[Array, "B *positions classes"]:
        return self.program(self.arrays, check_model_input(images, "prepared as the module was trained"))


def from_torch(module: Any, example: Any, *, classes: Classes | None = None) -> TorchModel:
    """A PyTorch module in inference mode as a function of JAX arrays, channels last: (B, H, W, C) -> (B, classes).

    The result is a pytree of the module's weights, so that they are arguments of every compiled program. Inner layers are named
    by PyTorch's paths of modules, such as `layer3` or `features.29`. An output with four axes is named channels last, (B, h, w, C):
    it is transposed unless its shape shows that it is channels last already. If a submodule returns several tensors, their names
    are `path.0`, `path.1` and so on. The module itself is copied, not changed, and its hooks are part of the function.

    Needs `pip install 'extremal-jax[torch]'`: torch 2.12 with torchax 0.0.13, which cannot be imported beside torch 2.13 and later.
    torchax switches PyTorch's fast path of attention off (`torch.backends.mha`).

    Args:
      module: a `torch.nn.Module` on the CPU, in evaluation mode, from images (B, C, H, W) to scores (B, classes) or
        (B, classes, h, w). Its weights are of one floating-point type, not float64.
      example: an image (H, W, C), or images (B, H, W, C), floats, of which only the shape and type matter. The function takes
        images of other sizes where the module does.
      classes: the names of the classes, in the order of the scores or by their indices; None: targets are indices.

    Returns:
      A `TorchModel`: a function of images, with `arrays`, `classes` and `activations`.

    Raises:
      ImportError: if torch or torchax is missing, or the two do not work together.
      TypeError: for a module or an example of another type.
      ValueError: for a module in training mode, on another device or with float64 weights; for an example of another shape;
        for an operation that torchax does not translate, or a branch on values; for an output that is no tensor of scores;
        for another number of classes.

    Example:
      >>> import torch  # doctest: +SKIP
      >>> module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)).eval()  # doctest: +SKIP
      >>> model = from_torch(module, jnp.zeros((2, 2, 3)), classes=("cat", "dog"))  # doctest: +SKIP
      >>> model(jnp.ones((5, 2, 2, 3))).shape, model.activations  # doctest: +SKIP
      ((5, 2), ('0', '1'))

    Source: torchax, https://github.com/google/torchax.

    Differences from TorchRay: TorchRay works on the module itself, with hooks and patched functions, and on images
      (B, C, H, W). Here the module stays as it is.
    """
    torch, _ = _imported()
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    if isinstance(module, torch.jit.ScriptModule):
        raise TypeError("module must be written in Python, got a TorchScript module; pass the module that it was made from")
    example = check_images("example", example)
    _check_inference(module)
    tensors = _tensors(torch, module)
    _check_tensors(torch, tensors)
    program = Skeleton(torch, module, tensors.values())
    arrays = {name: _to_jax(torch, tensor) for name, tensor in tensors.items()}
    images = jax.eval_shape(lambda example: example.reshape(-1, *example.shape[-3:])[:1], example)
    scores = jax.eval_shape(lambda arrays, images: program(arrays, images), arrays, images)  # a new function, which JAX does not remember
    return TorchModel(arrays, _names(classes, scores.shape[-1]), program.named_once(), program)


def _imported() -> tuple[Any, Any]:
    """PyTorch and torchax."""
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise ImportError(f"PyTorch modules need the packages torch and torchax; {_INSTALL}") from error
    try:
        return torch, importlib.import_module("torchax")
    except ModuleNotFoundError as error:
        raise ImportError(f"PyTorch modules need the package torchax beside torch {torch.__version__}; {_INSTALL}") from error
    except Exception as error:  # torch 2.13 lacks an operation that torchax 0.0.13 looks up when it is imported
        versions = f"torchax {importlib.metadata.version('torchax')} cannot be imported beside torch {torch.__version__}"
        raise ImportError(f"{versions} ({error}); {_INSTALL}") from error


def _check_inference(module: Any) -> None:
    """Raise a ValueError if a module or a part of it is in training mode."""
    for path, part in module.named_modules():
        if part.training:
            what = f"its {path!r}" if path else "it"
            raise ValueError(
                f"module must be in evaluation mode, but {what} ({type(part).__name__}) is in training mode; call module.eval()"
            )


def _tensors(torch: Any, module: Any) -> dict[str, Any]:
    """The parameters, the buffers and the other attributes that are tensors, each once, by their names."""
    found: dict[int, tuple[str, Any]] = {}
    for path, part in module.named_modules():
        for name, value in {**part._parameters, **part._buffers, **vars(part)}.items():
            if isinstance(value, torch.Tensor):
                found.setdefault(id(value), (f"{path}.{name}" if path else name, value))
    return dict(found.values())


def _check_tensors(torch: Any, tensors: Mapping[str, Any]) -> None:
    """Raise a ValueError unless all tensors hold numbers on the CPU, none of them in double precision."""
    for name, tensor in tensors.items():
        if torch.nn.parameter.is_lazy(tensor):
            raise ValueError(f"module must have all its weights, but {name!r} has no shape yet; call the module once in PyTorch before")
        if tensor.device.type != "cpu":
            advice = "load its weights first" if tensor.device.type == "meta" else "module.cpu() moves it there"
            raise ValueError(f"module must be on the CPU, but {name!r} is on the device {str(tensor.device)!r}; {advice}")
        if tensor.dtype in (torch.float64, torch.complex128):
            precision = str(tensor.dtype).removeprefix("torch.")
            raise ValueError(f"module must have weights in single precision, but {name!r} is {precision}; module.float() converts it")


def _to_jax(torch: Any, tensor: Any) -> Array:
    """A copy of a tensor, so that training the module further does not change it."""
    tensor = tensor.detach()
    return jnp.array(tensor.float().numpy(), jnp.bfloat16) if tensor.dtype == torch.bfloat16 else jnp.array(tensor.numpy())


def _names(classes: Any, count: int) -> tuple[str, ...] | None:
    """The names of classes in the order of the scores; a mapping has them by their indices."""
    if classes is None:
        return None
    if isinstance(classes, str):
        raise TypeError(f"classes must be the names of all classes, got the text {classes!r}")
    found = tuple(str(classes[i]) for i in sorted(classes)) if isinstance(classes, Mapping) else tuple(map(str, classes))
    if len(found) != count or (isinstance(classes, Mapping) and set(classes) != set(range(count))):
        raise ValueError(f"classes must be {count} names, one for each score of the module, got {len(found)}: {quoted(found[:8])}")
    return found


class Skeleton:
    """A module without its tensors: (arrays, images) -> scores. Two are equal if their modules compute the same from the same
    arrays, so that another module of the same form compiles nothing.

    Args:
      torch: PyTorch.
      module: in evaluation mode; it is copied.
      tensors: its tensors, which are not copied.
    """

    def __init__(self, torch: Any, module: Any, tensors: Iterable[Any]):
        memo = {id(tensor): _placeholder(torch, tensor) for tensor in tensors}
        self.module = copy.deepcopy(module, memo)
        for part in self.module.modules():
            for name in [name for name, value in vars(part).items() if isinstance(value, torch.Tensor)]:
                part._buffers[name] = vars(part).pop(name)  # where `functional_call` can set it
        self._record = contents([_form(path, part) for path, part in self.module.named_modules(remove_duplicate=False)]).record
        self._hash = hash(self._record)
        self._running: list[str] = []  # the submodules that are being called
        self._named: list[str] = []
        self._size: tuple[int, ...] = (1, 1)  # of the images
        for path, part in self.module.named_modules():
            if path:
                part.register_forward_pre_hook(functools.partial(self._enter, path))
                part.register_forward_hook(functools.partial(self._leave, path))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Skeleton) and self._hash == other._hash and self._record == other._record)

    def __call__(self, arrays: Mapping[str, Any], images: Float[Array, "B H W C"]) -> Float[Array, "B *positions classes"]:
        torch, torchax = _imported()
        environment = torchax.default_env()
        inner = next((x.dtype for x in arrays.values() if jnp.issubdtype(x.dtype, jnp.floating)), images.dtype)
        with contextlib.ExitStack() as contexts:
            contexts.enter_context(_ONE_AT_A_TIME)
            contexts.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", "Explicitly requested dtype", UserWarning)  # int64, PyTorch's default
            contexts.enter_context(jax.numpy_rank_promotion("allow"))  # as in PyTorch
            contexts.enter_context(jax.numpy_dtype_promotion("standard"))
            contexts.enter_context(environment.override_property(prng=jax.random.key(0)))  # the same numbers at each call
            contexts.enter_context(environment)
            contexts.enter_context(torch.device("jax"))  # of tensors that the module makes
            contexts.enter_context(torch.no_grad())
            self._running, self._named, self._size = [], [], images.shape[1:3]
            state, x = environment.j2t_iso(({k: jnp.asarray(v) for k, v in arrays.items()}, images.astype(inner).transpose(0, 3, 1, 2)))
            try:
                outputs = torch.func.functional_call(self.module, state, (x,))
                _check_outputs(torch, outputs, len(images))
            except _Refused:
                raise
            except Exception as error:
                raise ValueError(_failure(error, self._running, x.shape)) from error
            scores = outputs.jax().astype(images.dtype)
        return scores.transpose(0, 2, 3, 1) if scores.ndim == 4 else scores

    def named_once(self) -> tuple[str, ...]:
        """The names that the last call gave once, in order: those that `at=` can name."""
        counts = collections.Counter(self._named)
        return tuple(name for name in self._named if counts[name] == 1)

    def _enter(self, path: str, part: Any, arguments: Any) -> None:
        self._running.append(path)

    def _leave(self, path: str, part: Any, arguments: Any, outputs: Any) -> Any:
        self._running.pop()
        return named_outputs(outputs, path, self._name)

    def _name(self, value: Any, name: str) -> Any:
        """The same tensor; as an array, it bears the name."""
        if not hasattr(value, "jax"):
            return value
        self._named.append(name)
        x = value.jax()
        if x.ndim != 4 or _is_channels_last(x.shape, self._size):
            x = checkpoint_name(x, name)
        else:
            x = checkpoint_name(x.transpose(0, 2, 3, 1), name).transpose(0, 3, 1, 2)
        return _imported()[1].default_env().j2t_iso(x)


def _placeholder(torch: Any, tensor: Any) -> Any:
    """A tensor of the same shape and type without values."""
    empty = torch.empty_like(tensor, device="meta", requires_grad=False)
    return torch.nn.Parameter(empty, requires_grad=False) if isinstance(tensor, torch.nn.Parameter) else empty


def _form(path: str, part: Any) -> tuple[Any, ...]:
    """What a submodule computes by, other than its tensors."""
    attributes = {name: value for name, value in vars(part).items() if name not in _TENSORS}
    tensors = {name: value is None for name, value in {**part._parameters, **part._buffers}.items()}
    return path, type(part), attributes, tensors


def _is_channels_last(shape: tuple[int, ...], size: tuple[int, ...]) -> bool:
    """Whether axes 1 and 2, rather than 2 and 3, have the aspect of the images."""
    last, first = (abs(height * size[1] - width * size[0]) for height, width in (shape[1:3], shape[2:4]))
    return last < min(first, max(size))


def _check_outputs(torch: Any, outputs: Any, count: int) -> None:
    """Raise a ValueError unless the outputs of a module are a tensor of scores."""
    if isinstance(outputs, Mapping):
        form = f"a {type(outputs).__name__} with {quoted(outputs)}"
        raise _Refused(f"module must return a tensor of scores, got {form}; {_WRAP} module(x)[{next(iter(outputs), 0)!r}]")
    if isinstance(outputs, tuple | list):
        form = f"a {type(outputs).__name__} of {len(outputs)}"
        raise _Refused(f"module must return a tensor of scores, got {form}; {_WRAP} module(x)[0]")
    if not hasattr(outputs, "jax"):
        raise _Refused(f"module must return a tensor of scores computed from the images, got {type(outputs).__name__}")
    if outputs.ndim not in (2, 4) or outputs.shape[0] != count or not outputs.dtype.is_floating_point:
        form = f"{str(outputs.dtype).removeprefix('torch.')}{list(outputs.shape)}"
        raise _Refused(f"module must return scores (B, classes) or (B, classes, h, w), floats; for B = {count} it returned {form}")


class _Refused(ValueError):
    """An output that is not scores."""


def _failure(error: Exception, running: list[str], shape: tuple[int, ...]) -> str:
    """The sentence for an error that came up while a module was called."""
    part = f"its {running[-1]!r}" if running else "it"
    text = str(error).strip().partition("\n")[0]
    if found := re.match(r"Operator with name (\S+) has no lowering", text):
        return f"module must consist of operations that torchax translates, but {part} uses {found[1]}; replace it by other operations"
    if isinstance(error, jax.errors.ConcretizationTypeError | jax.errors.TracerArrayConversionError):
        return f"module must not branch on the values of a tensor, but {part} does ({text}); torch.where chooses without a branch"
    if "mixed math" in text:
        return f"module must hold its tensors as attributes, but {part} uses another; register_buffer(name, tensor) makes it one"
    return f"module failed when called with images (B, C, H, W) = {tuple(shape)}, in {part}: {type(error).__name__}: {text}"
