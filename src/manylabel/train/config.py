"""A recipe's tables: everything that a run depends on but the data set."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from manylabel.config import Config, parse
from manylabel.data.read import DataSource
from manylabel.errors import ConfigError
from manylabel.feed.augment import AugmentConfig, PaperAugmentConfig
from manylabel.feed.sampling import SamplerConfig, UniformConfig
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
from manylabel.train.mixing import MixingConfig, NoMixingConfig
from manylabel.train.optim import OptimConfig, SGDConfig


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
    skip_bad_images: bool = False
    """Leave out images that cannot be used, and count them; `--skip-bad-images` sets it. Without
    it, one such image is an error before training begins."""
    input: InputSpec = InputSpec()
    """The model's input; what is not given is what the backbone's weights were trained with."""
    augment: AugmentConfig = PaperAugmentConfig()
    """Random views of training images."""
    mixing: MixingConfig = NoMixingConfig()
    """Two training images mixed into one."""
    sampler: SamplerConfig = UniformConfig()
    """How often an epoch shows each training image."""
    backbone: BackboneConfig = BackboneConfig()
    """The backbone."""
    head: AnyHeadConfig = LinearConfig()
    """The head."""
    loss: LossConfig = BCEConfig()
    """The loss of each branch; a step adds up those of its branches."""
    optim: OptimConfig = SGDConfig()
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
        self._check_validation()
        if self.cache_folder is not None and not self.cache:
            raise ValueError("cache_folder is where cache = true keeps images, and cache is false")
        if self.features == "cached":
            self._check_cached_features()
        return self

    def _check_validation(self) -> None:
        """Whether each step is validated as often as its settings need."""
        every = self.validate_every
        for step in self.steps:
            schedule = self.optim_of(step).schedule
            if schedule.moves_after == "validation" and every != 1:
                raise ValueError(
                    f"the schedule '{schedule.name}' needs a validation loss in every epoch: "
                    "validate_every = 1"
                )
            if self.keep == "best" and not 0 < every <= step.epochs:
                raise ValueError(
                    f"keep = 'best' chooses among validated epochs, and the step '{step.kind}' has "
                    f"none: it has {step.epochs} epochs, and validate_every is {every}"
                )

    def _check_cached_features(self) -> None:
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
