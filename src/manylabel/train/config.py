"""The settings of a run, which a recipe holds, and how recipes are found."""

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
from manylabel.models.packaged import PACKAGE, pinned
from manylabel.preprocess import InputSpec
from manylabel.train.mixing import MixingConfig, NoMixingConfig
from manylabel.train.optim import OptimConfig, SGDConfig


class StepConfig(Config):
    """One step of a run."""

    kind: str
    """`main`, `attention`, `regularisation`, `joint` (the paper's loss) and `joint-released` are
    steps of SRN; `srn-att` has `joint-attention` in place of the last three, `semantic` the first
    and the third, `linear` the first. `whole` trains the whole net, with any head.
    `whole-branches` is `whole` with a loss on each branch, too, for SRN's heads."""
    epochs: int = Field(ge=1)
    """Passes over the training images."""
    freeze: tuple[str, ...] = ()
    """Parts that this kind of step trains but that are frozen in this step, for instance
    `backbone`."""
    freeze_stages: int | None = Field(default=None, ge=0)
    """Freeze the backbone's stem and this many stages after it, with their batch statistics. 0
    freezes the stem alone; 2 freezes a ResNet up to conv3_x. Each block of a plain transformer is a
    stage."""
    optim: OptimConfig | None = None
    """The optimiser of this step. If it is not set, the step uses the run's."""


class RunConfig(Config):
    """The settings of a whole run. A recipe is a file with these tables."""

    seed: int = Field(default=0, ge=0)
    """The seed of the initial weights, the order of images and the random views."""
    data: DataSource | None = None
    """The data set; `--data` on the command line sets it."""
    skip_bad_images: bool = False
    """Leave out images that cannot be used, and count them; `--skip-bad-images` sets it. Without
    it, one such image is an error before training begins."""
    input: InputSpec = InputSpec()
    """The model's input. Keys that are not given have the values that the backbone's weights were
    trained with."""
    augment: AugmentConfig = PaperAugmentConfig()
    """The random views of training images."""
    mixing: MixingConfig = NoMixingConfig()
    """How two training images are mixed into one."""
    sampler: SamplerConfig = UniformConfig()
    """How often an epoch shows each training image."""
    backbone: BackboneConfig = BackboneConfig()
    """The backbone."""
    head: AnyHeadConfig = LinearConfig()
    """The head."""
    loss: LossConfig = BCEConfig()
    """The loss of each branch. The loss of a step is the sum over the branches that it names."""
    optim: OptimConfig = SGDConfig()
    """The optimiser of the steps that do not set one."""
    steps: tuple[StepConfig, ...] = Field(min_length=1)
    """The training steps, in order. The paper's SRN has four; most recipes of other heads have
    one."""
    batch_size: int = Field(default=32, ge=2)
    """Images per iteration."""
    keep: Literal["last", "best"] = "last"
    """Which weights a step ends with: `last`, those after its last epoch (the paper's), or `best`,
    those of the epoch with the best mAP on the validation split."""
    hand_over: Literal["best", "last"] = "best"
    """Which step's model becomes the run's bundle: `best`, that of the step with the best mAP on
    the validation split, or `last` (the paper's). Without a validation split it is the last."""
    validate_every: int = Field(default=1, ge=0)
    """Validate after every so many epochs; 0: never."""
    features: Literal["live", "cached"] = "live"
    """`cached`: run the backbone once over each image (and its mirror image if `augment` is
    `flip`), keep the feature maps in memory in half precision, and train on them. No step may train
    the backbone. `live`: run the backbone in each iteration."""
    cache: bool = False
    """Decode each image once and keep it on disk at the size that training needs, with 3 bytes per
    pixel. The pixels do not change."""
    cache_folder: Path | None = None
    """Where `cache` keeps the images. If it is not set: `manylabel` in the user's folder for
    caches."""
    workers: int | None = Field(default=None, ge=0)
    """The number of processes that read images. If it is not set: one less than the processors, at
    most 8."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """The precision of the arithmetic. Losses and SRN's spatial softmax are always computed in 32
    bits."""
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
            raise ValueError("cache_folder needs cache = true, but cache is false")
        if self.features == "cached":
            self._check_cached_features()
        return self

    def _check_validation(self) -> None:
        """Check that each step is validated as often as its settings need."""
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
                    f"keep = 'best' needs a validated epoch, and the step '{step.kind}' has none: "
                    f"it has {step.epochs} epochs, and validate_every is {every}"
                )

    def _check_cached_features(self) -> None:
        if any("backbone" in self.parts_of(step) for step in self.steps):
            raise ValueError("features = 'cached' needs freeze = ['backbone'] in every step")
        if self.augment.name not in ("none", "flip"):
            raise ValueError("features = 'cached' needs augment 'none' or 'flip'")
        if self.augment.randaugment:
            raise ValueError("features = 'cached' does not allow augment.randaugment")
        if self.cache:
            raise ValueError("features = 'cached' keeps maps, not images: leave out cache")
        if self.mixing.name != "none":
            raise ValueError(
                f"features = 'cached' keeps the maps of unmixed images; mixing "
                f"'{self.mixing.name}' needs features = 'live'"
            )

    def _check_stages(self) -> None:
        """Check before the run that the backbone has the stages that its steps need.

        Raises:
            ConfigError: timm does not know its stages, or it has too few.
        """
        frozen = [step.freeze_stages for step in self.steps if step.freeze_stages is not None]
        decayed = any(self.optim_of(step).layer_decay < 1 for step in self.steps)
        if not frozen and not decayed:
            return
        require_stages(self.backbone.name, max(frozen, default=0), count_stages(self.backbone))

    @property
    def model(self) -> ModelConfig:
        """The backbone and the head."""
        return ModelConfig(backbone=self.backbone, head=self.head)

    def plan_of(self, kind: str) -> StepPlan:
        """The plan of a kind of step of this run's head."""
        return HEADS[self.head.name].steps[kind]

    def parts_of(self, step: StepConfig) -> tuple[str, ...]:
        """The parts of the classifier that a step trains."""
        return tuple(part for part in self.plan_of(step.kind).trains if part not in step.freeze)

    def optim_of(self, step: StepConfig) -> OptimConfig:
        """The settings of a step's optimiser."""
        return step.optim or self.optim


def _check_freezing(step: StepConfig, trained: tuple[str, ...]) -> None:
    for part in step.freeze:
        if part not in trained:
            close = get_close_matches(part, trained, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            if part.startswith("backbone."):
                hint = "; freeze_stages freezes a part of the backbone"
            raise ValueError(
                f"step '{step.kind}' does not train '{part}'; it trains {', '.join(trained)}{hint}"
            )
    backbone_is_frozen = "backbone" not in trained or "backbone" in step.freeze
    if step.freeze_stages is not None and backbone_is_frozen:
        raise ValueError(
            f"step '{step.kind}' does not train the backbone: leave out its freeze_stages"
        )


def resolve(tables: dict[str, Any], *, where: str) -> RunConfig:
    """The settings of the run that the tables of a recipe describe.

    The defaults of mean, std and interpolation are those that the backbone was trained with. If its
    weights are in a package, those of height and width are, too, and the settings name the version
    of the package.

    Args:
        tables: The tables of a recipe.
        where: Where they come from, for errors.

    Raises:
        ConfigError: The tables do not describe a run.
        MissingExtraError: The weights are to come from a package that is not installed.
    """
    backbone = tables.get("backbone", {})
    given = tables.get("input", {})
    if isinstance(backbone, dict) and isinstance(given, dict):
        name = backbone.get("name", BackboneConfig().name)
        own = pretrained_input(name, backbone.get("weights")) if isinstance(name, str) else {}
        tables = {**tables, "input": {**own, **given}}
    return _with_pin(parse(RunConfig, tables, where=where))


def _with_pin(config: RunConfig) -> RunConfig:
    """The same settings; if they ask for a package, they name the one that is installed."""
    if config.backbone.weights != PACKAGE:
        return config
    backbone = config.backbone.model_copy(update={"weights": pinned(config.backbone.name)})
    return config.model_copy(update={"backbone": backbone})


def find_recipe(name: str) -> Path:
    """The file of a recipe.

    Args:
        name: A path, or the name of a recipe that comes with manylabel.

    Raises:
        ConfigError: No recipe has this name.
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
    """The folder of the recipes: inside an installed package, or beside `src` in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parents[1] / "recipes"
