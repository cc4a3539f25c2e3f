"""Adapters of the three services, and the protocols the pipeline knows them by."""
