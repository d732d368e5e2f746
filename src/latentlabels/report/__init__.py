"""What a run shows: pictures that compute nothing but their layout."""
