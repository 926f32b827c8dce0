"""The exceptions that tune_bio raises on purpose.

TuneBioError                 a fault and its remedy, printed as one line
├── InputError               bad input: nothing was started, exit status 2
│   ├── UsageError           the command line
│   ├── ConfigError          a hyperparameter or a setting
│   ├── SpaceError           the search-space file
│   ├── DataError            the images and their labels
│   ├── WeightsError         pretrained weights that are unavailable
│   ├── ResourceError        CPUs, GPUs, memory
│   ├── ResultsError         a results folder that cannot be written or read
│   └── StatisticsError      data that do not allow the requested statistic
│       └── AliasError       hyperparameters whose effects cannot be separated
└── StudyError               a study that started and has no result
"""


class TuneBioError(Exception):
    """A fault and its remedy.

    Both are sentences without a full stop; `str()` joins them into one line.
    """

    def __init__(self, fault: str, remedy: str) -> None:
        # Exception keeps both in `args`, so that the error can be pickled between processes.
        super().__init__(fault, remedy)
        self.fault = fault
        self.remedy = remedy

    def __str__(self) -> str:
        return " ".join(f"{self.fault}: {self.remedy}".split())


class InputError(TuneBioError):
    """Bad input, found before anything was started."""


class UsageError(InputError):
    """The command line is invalid."""


class ConfigError(InputError):
    """A hyperparameter or setting is unknown, inactive, out of range or impossible."""


class SpaceError(InputError):
    """The search-space file cannot be used."""


class DataError(InputError):
    """The images cannot be used."""


class WeightsError(InputError):
    """Pretrained weights are unavailable."""


class ResourceError(InputError):
    """The machine or cluster lacks the requested CPUs, GPUs or memory."""


class ResultsError(InputError):
    """The results folder cannot be written or read."""


class StatisticsError(InputError):
    """The data do not allow the requested statistic."""


class AliasError(StatisticsError):
    """The effects of some hyperparameters of a grid cannot be separated."""


class StudyError(TuneBioError):
    """The study ran and has no result."""
