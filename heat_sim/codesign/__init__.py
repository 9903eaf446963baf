"""Search over tensorization shapes, ranks and formats for EDP against accuracy."""
