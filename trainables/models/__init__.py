"""The base model: where it comes from, how it is loaded, its loss, and the small ones that come with hikaku."""
