"""Where rows and their labels come from."""
