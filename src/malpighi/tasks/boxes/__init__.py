"""A detector beside the segmentation network: trained after it, slid over images, and what its boxes do to masks."""
