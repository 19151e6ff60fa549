"""Images made from label maps, with lesions of exact truth."""
