"""Two bundles asked the same photos: answers, their truth, and what changed; for ``tools/compare_bundles.py``."""
