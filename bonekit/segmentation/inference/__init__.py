"""From images to labels with their uncertainty, in bounded memory."""
