"""Small data without a download: handwritten digits, or shapes, on photographs."""
