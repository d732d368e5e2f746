"""What the library raises when its input cannot be used."""


class LatentLabelsError(ValueError):
    """Input that cannot be used; the message says what was wanted, what came and what to do."""


class TableError(LatentLabelsError):
    """A table's file, columns or cells cannot be used."""


class LabelError(LatentLabelsError):
    """Labels do not fit the vocabulary, or are missing where they are needed."""


class ModelFolderError(LatentLabelsError):
    """A model's folder is incomplete, damaged or of another version."""


class InputError(LatentLabelsError):
    """An example that cannot be used; the message is a short reason, without the row."""


class BackboneError(LatentLabelsError):
    """A backbone cannot be had: unknown, not at hand, or its weights do not fit."""


class MissingPackageError(LatentLabelsError):
    """An optional package that something needs is not installed."""
