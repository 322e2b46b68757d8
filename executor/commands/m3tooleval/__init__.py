"""
M3ToolEval, the benchmark of the CodeAct paper: its 82 tasks through the real service.

Source: Wang et al., "Executable Code Actions Elicit Better LLM Agents" (2024), section 2.3.
"""
