"""Image features in scikit-learn's pipelines: `ImageFeatures`."""

from .integrations.sklearn import ImageFeatures

__all__ = ["ImageFeatures"]
