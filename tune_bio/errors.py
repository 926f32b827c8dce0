"""Every error that tune_bio raises on purpose.

TuneBioError                 a fault and its remedy, printed as one line
├── InputError               bad input: nothing was started, exit status 2
│   ├── UsageError           the command line
│   ├── ConfigError          a hyperparameter or a setting
│   ├── SpaceError           the search-space file
│   ├── DataError            the images and their labels
│   ├── WeightsError         pretrained weights that cannot be had
│   ├── ResourceError        CPUs, GPUs, memory
│   ├── ResultsError         a results folder that cannot be written or read
│   └── StatisticsError      figures that do not allow what is asked of them
│       └── AliasError       hyperparameters whose effects cannot be told apart
└── StudyError               a study that started and could not deliver
"""


class TuneBioError(Exception):
    """A fault, told together with what to do about it.

    Both parts are sentences without a full stop; `str()` joins them into one line.
    """

    def __init__(self, fault: str, remedy: str) -> None:
        # Both go to Exception's own args, so that the error survives pickling between processes.
        super().__init__(fault, remedy)
        self.fault = fault
        self.remedy = remedy

    def __str__(self) -> str:
        return " ".join(f"{self.fault}: {self.remedy}".split())


class InputError(TuneBioError):
    """Bad input, found before anything was started."""


class UsageError(InputError):
    """The command line does not parse."""


class ConfigError(InputError):
    """A hyperparameter or setting is unknown, inactive, out of range or impossible."""


class SpaceError(InputError):
    """The search-space file cannot be used."""


class DataError(InputError):
    """The images cannot be used."""


class WeightsError(InputError):
    """Pretrained weights cannot be had."""


class ResourceError(InputError):
    """The machine or cluster does not have what was asked for."""


class ResultsError(InputError):
    """The results folder cannot be written or read."""


class StatisticsError(InputError):
    """The figures do not allow the statistic that is asked of them."""


class AliasError(StatisticsError):
    """Hyperparameters of a grid whose effects cannot be told apart."""


class StudyError(TuneBioError):
    """The study ran, and there is nothing to deliver."""
