"""The classes that a state is made of. A snapshot names them, and nothing else can be named by one.

Words stand in a running state as what they are, and as texts once they come out of the log: both may occur.
"""

from enum import StrEnum

from apikeyrouter.domain.account_columns import Account, Calendar
from apikeyrouter.domain.accounts import Accounts, Holding, LimitSource
from apikeyrouter.domain.budgets import Budget, Budgets, Purse
from apikeyrouter.domain.catalogue_folds import Provider
from apikeyrouter.domain.columns import DecayedColumns, KeyColumns
from apikeyrouter.domain.demand import DemandColumns
from apikeyrouter.domain.events import BudgetTerms, EventRef, ModelOffer, ModelsEquated, Prices, RouteDecided
from apikeyrouter.domain.expectations import Expectations
from apikeyrouter.domain.failure_classes import Dialect, FailureClass, KeyEffect, NextTry
from apikeyrouter.domain.forecast_scores import ForecastScores
from apikeyrouter.domain.forecasting import CapacityState, Uncertainty
from apikeyrouter.domain.holds import Hold, Holds, HoldScope
from apikeyrouter.domain.keys import Key
from apikeyrouter.domain.models.api_key import KeyState
from apikeyrouter.domain.models.budget import BudgetScope, EnforcementMode, TimeWindow
from apikeyrouter.domain.models.routing_decision import ObjectiveType
from apikeyrouter.domain.models.system_error import ErrorCategory
from apikeyrouter.domain.offered import Offers
from apikeyrouter.domain.payloads import Loss, Part, Payloads
from apikeyrouter.domain.positions import Positions
from apikeyrouter.domain.provider_health import Health, ProviderHealth
from apikeyrouter.domain.quota_limits import Dimension, Limit
from apikeyrouter.domain.quotas import Quotas, Share
from apikeyrouter.domain.reconciliation import Accuracy, Reconciliation, Source
from apikeyrouter.domain.reliability import Bin, Scored
from apikeyrouter.domain.request_folds import OpenRequest
from apikeyrouter.domain.retention import Refold, Retention, Segment
from apikeyrouter.domain.state import RouterState
from apikeyrouter.domain.vocabulary.payloads import CaptureSet, DoomedSubject, ErasureStarted
from apikeyrouter.domain.vocabulary.retention import SegmentDropped
from apikeyrouter.domain.windows import Window

CLASSES: tuple[type, ...] = (
    Account,
    Accounts,
    Accuracy,
    Bin,
    Budget,
    BudgetTerms,
    Budgets,
    Calendar,
    CaptureSet,
    DecayedColumns,
    DemandColumns,
    ErasureStarted,
    DoomedSubject,
    EventRef,
    Expectations,
    ForecastScores,
    Hold,
    Holding,
    Holds,
    Key,
    KeyColumns,
    Limit,
    ModelOffer,
    ModelsEquated,
    Offers,
    OpenRequest,
    Payloads,
    Positions,
    Prices,
    Provider,
    ProviderHealth,
    Purse,
    Quotas,
    Reconciliation,
    Refold,
    Retention,
    RouteDecided,
    RouterState,
    Scored,
    Segment,
    SegmentDropped,
    Share,
    Window,
)

WORDS: tuple[type[StrEnum], ...] = (
    BudgetScope,
    CapacityState,
    Dialect,
    Dimension,
    EnforcementMode,
    ErrorCategory,
    FailureClass,
    Health,
    HoldScope,
    KeyEffect,
    KeyState,
    LimitSource,
    Loss,
    NextTry,
    ObjectiveType,
    Part,
    Source,
    TimeWindow,
    Uncertainty,
)
