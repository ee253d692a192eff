"""A recipe's tables: everything that a run depends on but the data set."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from manylabel.config import Config, override, parse, read_toml
from manylabel.data.read import DataSource
from manylabel.errors import ConfigError
from manylabel.feed.augment import AugmentConfig
from manylabel.feed.sampling import SamplerConfig
from manylabel.losses import BCEConfig, LossConfig
from manylabel.models.backbones import (
    BackboneConfig,
    count_stages,
    pretrained_input,
    require_stages,
)
from manylabel.models.classifier import ModelConfig
from manylabel.models.heads import HEADS, AnyHeadConfig, LinearConfig
from manylabel.models.heads.steps import StepPlan
from manylabel.preprocess import InputSpec
from manylabel.train.mixing import MixingConfig


class ScheduleConfig(Config):
    """How the learning rate changes during a step."""

    name: Literal["constant", "plateau", "milestones", "cosine", "one-cycle"] = "constant"
    """`plateau`: multiplied by `factor` when the validation loss saturates; `milestones`:
    multiplied by `factor` after the epochs listed; `cosine`: to zero over the step; `one-cycle`:
    up over 30 % of the step, then to zero."""
    factor: float = Field(default=0.1, gt=0, lt=1)
    """`plateau` and `milestones` only."""
    patience: int = Field(default=2, ge=0)
    """`plateau` only: epochs without a lower validation loss before the rate falls."""
    smallest: float = Field(default=1e-5, gt=0)
    """`plateau` only: the rate falls no further than this."""
    epochs: tuple[int, ...] = ()
    """`milestones` only: epochs of the step, counted from 1, after which the rate falls."""


class OptimConfig(Config):
    """The optimiser; each step begins with a new one."""

    name: Literal["sgd", "adamw"] = "sgd"
    """`sgd` is the paper's."""
    lr: float = Field(default=1e-3, gt=0)
    """The initial learning rate; the highest one under `one-cycle`."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """`sgd` only."""
    weight_decay: float = Field(default=5e-4, ge=0)
    """On everything that is trained. What is frozen does not decay."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """The learning rate of each layer of the backbone is this times that of the layer above it;
    the head has `lr`. 1: the whole net has `lr`. Around 0.7 suits pre-trained transformers."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Gradients are scaled down to this norm; unset: never."""
    schedule: ScheduleConfig = ScheduleConfig()
    """How the rate changes during a step."""


class StepConfig(Config):
    """One step of a run."""

    kind: str
    """`main`, `attention`, `regularisation`, `joint` (the paper's loss) or `joint-released` train
    SRN; `whole` trains any head at once, `whole-branches` SRN's heads with a loss on each
    branch, too."""
    epochs: int = Field(ge=1)
    """Passes over the training images."""
    freeze: tuple[str, ...] = ()
    """Parts that this step holds although its kind would train them, for instance `backbone`."""
    freeze_stages: int | None = Field(default=None, ge=0)
    """Hold the backbone's stem and so many stages after it, batch statistics included: 0 is the
    stem alone, 2 of a ResNet goes up to conv3_x; each block of a plain transformer is a stage."""
    optim: OptimConfig | None = None
    """This step's optimiser; unset: the run's."""


class RunConfig(Config):
    """A whole run; the file that a recipe is."""

    seed: int = Field(default=0, ge=0)
    """Seeds weights, order and random views."""
    data: DataSource | None = None
    """The data set; `--data` on the command line."""
    input: InputSpec = InputSpec()
    """The model's input; what is not given is what the backbone's weights were trained with."""
    augment: AugmentConfig = AugmentConfig()
    """Random views of training images."""
    mixing: MixingConfig = MixingConfig()
    """Two training images mixed into one."""
    sampler: SamplerConfig = SamplerConfig()
    """How often an epoch shows each training image."""
    backbone: BackboneConfig = BackboneConfig()
    """The backbone."""
    head: AnyHeadConfig = LinearConfig()
    """The head."""
    loss: LossConfig = BCEConfig()
    """The loss of each branch; a step adds up those of its branches."""
    optim: OptimConfig = OptimConfig()
    """The optimiser of steps that name none."""
    steps: tuple[StepConfig, ...] = Field(min_length=1)
    """SRN has four, other heads one."""
    batch_size: int = Field(default=32, ge=2)
    """Images an iteration."""
    keep: Literal["last", "best"] = "last"
    """What a step hands on: its last weights (the paper's), or those of the epoch with the best
    mAP on the validation split."""
    validate_every: int = Field(default=1, ge=0)
    """Epochs between looks at the validation split; 0: never."""
    features: Literal["live", "cached"] = "live"
    """`cached`: run a backbone that no step trains once over every image (and its mirror image
    if `augment` is `flip`), keep its maps in memory in half precision, and train on them."""
    cache: bool = False
    """Keep the squashed images on disk, decoded once, 3 bytes a pixel; no pixel is changed."""
    cache_folder: Path | None = None
    """Where `cache` keeps them; unset: `manylabel` in the user's folder for caches."""
    workers: int | None = Field(default=None, ge=0)
    """Processes that read images; unset: one less than the processors, at most 8."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Arithmetic. Losses and SRN's spatial softmax are computed in 32 bits in any case."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `mps`."""

    @model_validator(mode="after")
    def _check(self) -> RunConfig:
        for step in self.steps:
            kinds = HEADS[self.head.name].steps
            if step.kind not in kinds:
                known = " and ".join(f"'{kind}'" for kind in kinds)
                raise ValueError(
                    f"the head '{self.head.name}' has no step '{step.kind}', only {known}"
                )
            _check_freezing(step, self.plan_of(step.kind).trains)
        self._check_stages()
        if self.features == "cached":
            if any("backbone" in self.parts_of(step) for step in self.steps):
                raise ValueError("features = 'cached' needs freeze = ['backbone'] in every step")
            if self.augment.name not in ("none", "flip"):
                raise ValueError("features = 'cached' goes with augment 'none' or 'flip' only")
            if self.augment.randaugment:
                raise ValueError("features = 'cached' goes without augment.randaugment")
            if self.cache:
                raise ValueError("features = 'cached' keeps maps, not images: leave out cache")
            if self.mixing.name != "none":
                raise ValueError(
                    f"features = 'cached' keeps the maps of single images; mixing "
                    f"'{self.mixing.name}' needs features = 'live'"
                )
        return self

    def _check_stages(self) -> None:
        """Ask the backbone for its stages, if need be, before a run gets to the step in question.

        Raises:
            ConfigError: timm does not know its stages, or there are not so many.
        """
        held = [step.freeze_stages for step in self.steps if step.freeze_stages is not None]
        decayed = any(self.optim_of(step).layer_decay < 1 for step in self.steps)
        if not held and not decayed:
            return
        require_stages(self.backbone.name, max(held, default=0), count_stages(self.backbone))

    @property
    def model(self) -> ModelConfig:
        """The backbone and the head."""
        return ModelConfig(backbone=self.backbone, head=self.head)

    def plan_of(self, kind: str) -> StepPlan:
        """What a kind of step of this run's head trains, and on what."""
        return HEADS[self.head.name].steps[kind]

    def parts_of(self, step: StepConfig) -> tuple[str, ...]:
        """The parts of the classifier that a step trains."""
        return tuple(part for part in self.plan_of(step.kind).trains if part not in step.freeze)

    def optim_of(self, step: StepConfig) -> OptimConfig:
        """The optimiser that a step runs with."""
        return step.optim or self.optim


def _check_freezing(step: StepConfig, trained: tuple[str, ...]) -> None:
    for part in step.freeze:
        if part not in trained:
            close = get_close_matches(part, trained, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            if part.startswith("backbone."):
                hint = "; freeze_stages holds a part of the backbone"
            raise ValueError(
                f"step '{step.kind}' does not train '{part}'; it trains {', '.join(trained)}{hint}"
            )
    backbone_is_held = "backbone" not in trained or "backbone" in step.freeze
    if step.freeze_stages is not None and backbone_is_held:
        raise ValueError(
            f"step '{step.kind}' does not train the backbone: leave out its freeze_stages"
        )


def load_recipe(path: Path, settings: tuple[str, ...] = ()) -> RunConfig:
    """The run that a recipe and `--set` overrides describe, all defaults filled in.

    Raises:
        ConfigError: The recipe is missing, is no TOML, or holds a key or value that does not fit.
    """
    return resolve(override(read_toml(path), settings), where=str(path))


def resolve(tables: dict[str, Any], *, where: str) -> RunConfig:
    """The run that `tables` describe; mean, std and interpolation default to the backbone's own."""
    backbone = tables.get("backbone", {})
    given = tables.get("input", {})
    if isinstance(backbone, dict) and isinstance(given, dict):
        name = backbone.get("name", BackboneConfig().name)
        own = pretrained_input(name) if isinstance(name, str) else {}
        tables = {**tables, "input": {**own, **given}}
    return parse(RunConfig, tables, where=where)


def find_recipe(name: str) -> Path:
    """The file of a recipe, given by path or by the name of one that comes with manylabel.

    Raises:
        ConfigError: There is no such file or name.
    """
    path = Path(name)
    if path.suffix == ".toml" or path.exists():
        return path
    folder = recipe_folder()
    known = sorted(file.stem for file in folder.glob("*.toml"))
    if name in known:
        return folder / f"{name}.toml"
    raise ConfigError(
        f"There is no recipe '{name}'.",
        where="--recipe",
        fix=f"Give a TOML file, or one of: {', '.join(known)}.",
    )


def recipe_folder() -> Path:
    """Where the recipes lie: inside an installed package, or beside `src` in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parents[1] / "recipes"
