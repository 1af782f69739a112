"""Makes commands of functions whose parameters say their options. Settings stand for an option per field:

    def bench(
        settings: Annotated[TrainingSettings, only("arch", "width", batch_size=Change(default=32))],
        repeats: Annotated[int, o.option("Rounds.", o.RUN)] = 3,
    ) -> None: ...

Options are typed as text and judged by pydantic alone, all at once, so that a wrong one is told in the words that a
wrong key of a recipe is told in.
"""

from __future__ import annotations

import inspect
import os
import types
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional, Union, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from rnabench.cli.answer import FAILED, Answer, document_alone, show
from rnabench.cli.options import A_FILE, ALL, PANELS, AsJson, Change, Fields
from rnabench.cli.study import settings_of, studies
from rnabench.errors import InvalidSettings, RnabenchError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from rnabench.settings.base import Part

Function = Callable[..., Answer | None]
JSON = "as_json"
SEVERAL = ",...>"  # ends the metavar of an option whose one text holds several values


def command(function: Function, name: str) -> Callable[..., None]:
    """What typer makes a command of that name of: `function` with options in the place of settings.

    A parameter of a settings class, or one that is `given`, stands for options; every other one is an argument or an
    option itself; a function that returns an Answer gets `--json` too. What is made raises InvalidSettings for all that
    is wrong with options, and typer.Exit for an answer that is `failed`.
    """
    arguments, groups = _arguments_and_groups(function, name)

    def run(**typed: Any) -> None:
        values, lines = {argument: _checked(argument.upper(), typed[argument]) for argument in arguments}, []
        for group in groups:
            try:
                values |= group.read(typed)
            except InvalidSettings as error:
                lines.append(str(error))
        if lines:
            raise InvalidSettings("\n".join(lines))
        for option in (option for group in groups for option in group.options if not group.given):
            if option.name == "out" and typed["out"] not in (None, option.default):
                _check_out(values["out"], option.is_file)
        as_document = values.pop(JSON, False)
        try:
            with document_alone() if as_document else nullcontext():
                answer = function(**values)
        except SystemExit as error:  # nothing of ours ends so: success is never claimed for somebody else's code
            raise RnabenchError(f"the code of a network ended the program (SystemExit: {error}); expected logits"
                                ) from None
        if answer and as_document:  # of several processes of one training, all but the first have none
            show(name, answer)
        if answer and answer.get("failed"):
            raise typer.Exit(FAILED)

    options = sorted((option for group in groups for option in group.options), key=lambda option: option.panel)
    parameters = [*arguments.values(), *(option.parameter for option in options)]
    run.__dict__["__signature__"] = inspect.Signature(parameters)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__doc__ = function.__doc__
    return run


@dataclass(frozen=True)
class Option:
    """How a field is typed. `default` is what help shows: a text, a flag, None, or `empty` where one must be typed. A
    field of `list[str]` is typed again and again, once for each text. `is_file`: what is written there is a file, and
    no folder."""

    name: str
    kind: Any
    default: Any
    info: OptionInfo
    is_file: bool = False

    @property
    def panel(self) -> int:
        return PANELS.index(str(self.info.rich_help_panel))

    @property
    def parameter(self) -> inspect.Parameter:
        """As typer reads it: a flag, or a text that is described by its metavar."""
        kind = bool if self.kind is bool else Optional[list[str]] if self.is_repeated else Optional[str]
        return inspect.Parameter(self.name, inspect.Parameter.KEYWORD_ONLY, default=self.default,
                                 annotation=Annotated[kind, self.info])

    @property
    def is_repeated(self) -> bool:
        return get_origin(self.kind) is list

    def is_said(self, typed: Any) -> bool:
        return typed is not None and not (self.kind is bool and typed == self.default)

    def value(self, typed: Any) -> Any:
        """What a text says, for pydantic to judge; the text itself where it cannot be read."""
        if self.is_repeated:
            return list(typed)
        if self.kind in (int, float):
            try:
                return self.kind(typed)
            except ValueError:
                return typed
        is_list_of_texts = get_origin(self.kind) is tuple and get_args(self.kind)[0] is not int
        return typed.split(",") if is_list_of_texts else typed


@dataclass(frozen=True)
class Group:
    """The options that stand for one parameter, or (if that has no name) those that are parameters themselves."""

    parameter: str
    kind: type[Part]
    options: list[Option]
    given: bool = False

    def read(self, typed: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters of the function by name. Raises InvalidSettings."""
        from rnabench.settings.base import from_options

        said = {option.name: option.value(typed[option.name]) for option in self.options
                if option.is_said(typed[option.name])}
        if self.given:
            return {self.parameter: said}
        settings = from_options(self.kind, said)
        if self.parameter:
            return {self.parameter: settings}
        return {name: _checked(f"--{name.replace('_', '-')}", getattr(settings, name))
                for name in self.kind.model_fields}


def _checked(option: str, value: Any) -> Any:
    """The value; of paths, ones that files can have. Raises InvalidValue."""
    from rnabench.settings.file_names import checked_path

    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, Path):
            checked_path(option, each)
    return value


def _check_out(out: Path, is_file: bool) -> None:
    """Raises RnabenchError for a place where nothing could be written once all is done."""
    there = next(place for place in (out, *out.parents, Path()) if os.path.lexists(place))
    is_folder = there.is_dir() or (is_file and there == out)
    if not is_folder or not os.access(there, os.W_OK):
        why = f"{str(there)!r} is " + ("closed" if is_folder else "no folder")
        raise RnabenchError(f"--out: cannot write {str(out)!r}: {why}; expected a place in a writable folder")


def _arguments_and_groups(function: Function, name: str) -> tuple[dict[str, inspect.Parameter], list[Group]]:
    from pydantic import create_model

    from rnabench.settings.base import Part

    kinds = _settings_classes(name)
    hints = get_type_hints(function, localns=kinds, include_extras=True)
    arguments, groups, own = {}, [], {}
    for parameter in inspect.signature(function).parameters.values():
        hint = hints[parameter.name]
        kind, metadata = _plain(hint)
        fields = next((each for each in metadata if isinstance(each, Fields)), ALL)
        if any(isinstance(each, ArgumentInfo) for each in metadata):
            arguments[parameter.name] = parameter.replace(annotation=hint)
        elif fields.given:
            kind = kinds[fields.given]
            groups.append(Group(parameter.name, kind, options_of(kind, fields), given=True))
        elif isinstance(kind, type) and issubclass(kind, Part):
            groups.append(Group(parameter.name, kind, options_of(kind, fields)))
        else:
            own[parameter.name] = (hint, ... if parameter.default is parameter.empty else parameter.default)
    if hints.get("return") == Answer:
        own[JSON] = (AsJson, False)
    itself: Any = create_model("Options", __base__=Part, **own)  # type: ignore[call-overload]
    return arguments, [*groups, Group("", itself, options_of(itself))]


def _settings_classes(name: str) -> dict[str, type[Part]]:
    """What a command's function may name. Their import takes longer than all the rest of a start, and happens here,
    for the one command that runs."""
    from rnabench.settings.datasets import DataSettings
    from rnabench.settings.dense import DenseSettings
    from rnabench.settings.deployment import Deployment
    from rnabench.settings.evaluation import EvaluationSettings
    from rnabench.settings.training import TrainingSettings

    kinds: dict[str, type[Part]] = {
        kind.__name__: kind for kind in (DataSettings, DenseSettings, Deployment, EvaluationSettings, TrainingSettings)}
    return kinds | {"Study": settings_of(name)} if name in studies() else kinds


def options_of(kind: type[Part], fields: Fields = ALL) -> list[Option]:
    """The options that stand for the fields of a settings class. A mapping has none: it is for recipes alone."""
    listed = (*fields.names, *fields.changes) or kind.model_fields
    return [_option(name, field, fields.changes.get(name), bool(fields.given))
            for name, field in kind.model_fields.items()
            if name in listed and name not in kind.unused and get_origin(_plain(field.annotation)[0]) is not dict]


def _option(name: str, field: FieldInfo, change: Change | None, given: bool) -> Option:
    from rnabench.settings.pixels import WrittenBy

    kind, metadata = _plain(field.annotation)
    metadata = [*field.metadata, *metadata]
    default = field.default if change is None or (change.default is None and not given) else change.default
    written_by = next((each for each in metadata if isinstance(each, WrittenBy)), None)
    if field.is_required():
        default = inspect.Parameter.empty
    elif default is not None and kind is not bool and get_origin(kind) is not list:
        default = (written_by.write(default) if written_by else ",".join(default) if isinstance(default, tuple) else
                   str(default))
    info = next((copy(each) for each in metadata if isinstance(each, OptionInfo)), None) or _info(
        field, change or Change(), default is None)
    info.metavar = None if kind is bool else _metavar(str if written_by and get_origin(kind) is not tuple else kind)
    return Option(name, str if written_by else kind, default, info, A_FILE in metadata)


def _info(field: FieldInfo, change: Change, is_none: bool) -> OptionInfo:
    said: Any = field.json_schema_extra or {"panel": "Run", "none": ""}  # a field of pydantic's own kind
    help, none = change.help or field.description, change.none or said["none"]
    info: OptionInfo = typer.Option(help=f"{help}  [default: {none}]" if is_none and none else help,
                                    rich_help_panel=said["panel"])
    return info


def _plain(annotation: Any) -> tuple[Any, list[Any]]:
    """A type without None and without metadata, and the metadata; a text where there are several types."""
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        return _plain(kinds[0]) if len(kinds) == 1 else (str, [])
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        kind, more = _plain(inner)
        return kind, [*metadata, *more]
    return annotation, []


def _metavar(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return f"<{get_args(kind)[0].__name__ if get_args(kind)[0] in (int, float) else 'str'}{SEVERAL}"
    if get_origin(kind) is Literal:
        return f"<{'|'.join(get_args(kind))}>"
    return {int: "<int>", float: "<float>", Path: "<path>"}.get(kind, "<str>")
