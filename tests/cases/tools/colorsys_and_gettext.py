# Smaller modules: colours, translations, locale's C, and cursors of bisect.
import colorsys
import gettext
import locale

print(
    [round(c, 4) for c in colorsys.rgb_to_hsv(0.2, 0.4, 0.6)],
    colorsys.hls_to_rgb(0.5, 0.5, 1),
    gettext.gettext("hi"),
    gettext.ngettext("one", "many", 2),
)
print(
    locale.localeconv()["decimal_point"],
    locale.format_string("%.2f", 1234.5),
    locale.atof("1.5"),
    sorted(["b", "A"], key=locale.strxfrm),
)
