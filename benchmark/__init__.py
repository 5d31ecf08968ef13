"""labelbench: how few bytes of labels does a distilled dataset need, and what do they cost?

These names are what notebooks, plugins and training loops build on. The rest is a house of ten
rooms; imports run one way, from the top of this list to its bottom:

- `cli`: the command line
- `api`: what it does, as functions: `run`, `results`, `register`, ...
- `report`: what records show: tables, pictures, the site
- `experiment`: measuring: grids, stages, students, the checks of plugins
- `exchange`: labels that change hands
- `labels`: what a method is, and the helpers that methods build on
- `models`: networks, teachers, priors, and how they are trained
- `data`: images, their views, rendering, recipes
- `records`: what a measurement says, and setting measurements side by side
- `core`: what everything stands on

A room's `__init__` names the modules that others may import from; the rest is its own. `methods`
and `datasets` hold one plugin a file, found by its name: they build on `exchange` and all below
it, and nothing imports them by name.
"""

from typing import TYPE_CHECKING

from .core.face import lazy

if TYPE_CHECKING:
    from .api.check import check as check
    from .api.records import advise as advise
    from .api.records import compare as compare
    from .api.records import ship as ship
    from .api.reference import reference as reference
    from .api.register import register as register
    from .api.results import Results as Results
    from .api.results import results as results
    from .api.run import run as run
    from .api.size import size as size
    from .core.errors import UserError as UserError
    from .core.needs import Needs as Needs
    from .core.options import NoOptions as NoOptions
    from .data.dataset_source import DatasetSource as DatasetSource
    from .data.images import Dataset as Dataset
    from .data.images import ResidentImages as ResidentImages
    from .data.recipe import Augmentation as Augmentation
    from .data.recipe import Objective as Objective
    from .data.recipe import Recipe as Recipe
    from .data.recipe_source import RecipeSetting as RecipeSetting
    from .data.recipe_source import RecipeSource as RecipeSource
    from .data.rendering import render as render
    from .data.views import ViewBatch as ViewBatch
    from .data.views import ViewPlan as ViewPlan
    from .exchange.shipping import open_labels as open_labels
    from .labels.artefact import Artefact as Artefact
    from .labels.artefact import StoredTensor as StoredTensor
    from .labels.contract import LabelSource as LabelSource
    from .labels.task import LabelTask as LabelTask
    from .labels.task import TaskShape as TaskShape
    from .models.image_source import ImageSource as ImageSource
    from .models.image_source import ImageTask as ImageTask
    from .models.network_family import NetworkFamily as NetworkFamily
    from .records.ledger import Ledger as Ledger
else:
    __getattr__, __dir__ = lazy(__name__, __file__)
    __all__ = __dir__()
