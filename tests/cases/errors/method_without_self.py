# A method without self gets one argument too many.
class Tool:
    def use():
        return "used"


print(Tool.use())
Tool().use()
