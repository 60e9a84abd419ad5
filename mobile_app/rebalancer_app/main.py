"""The app: how a window or a device starts, and which screen belongs to which route."""

from __future__ import annotations

import flet as ft

from rebalancer_app import theme
from rebalancer_app.device import Device
from rebalancer_app.gateway.client import Client
from rebalancer_app.platform import platform_owner, platform_secrets
from rebalancer_app.state import AppState, Current, use_app
from rebalancer_app.views.account import EmailAddress, Events, Password
from rebalancer_app.views.activity import Activity, PortfolioActivity
from rebalancer_app.views.alerts import AutomationSwitch, PortfolioAlerts
from rebalancer_app.views.backtests import BacktestDetail, Backtests
from rebalancer_app.views.data import YourData
from rebalancer_app.views.entrance import Confirm, SignIn
from rebalancer_app.views.flows import EditFlow, PlannedFlows
from rebalancer_app.views.gains import EditGainRules, PortfolioGains
from rebalancer_app.views.goals import EditGoals
from rebalancer_app.views.home import Home
from rebalancer_app.views.imports import ImportStatement, StatementImports
from rebalancer_app.views.market import AssetDetail, HoldingDetail, Market
from rebalancer_app.views.models import FollowModel, ModelDetailScreen, Models
from rebalancer_app.views.money import Deposit, RecordFills, RecordTrade, Withdraw
from rebalancer_app.views.notices import NoticeList, NoticeSettings, use_unread_count
from rebalancer_app.views.opening import EditTargets, NewPortfolio
from rebalancer_app.views.performance import PortfolioPerformance
from rebalancer_app.views.portfolio import PortfolioDetail
from rebalancer_app.views.preferences import load
from rebalancer_app.views.projection import LookAhead
from rebalancer_app.views.proposal import ProposalDetail
from rebalancer_app.views.rebalance import Rebalance
from rebalancer_app.views.risk import Questions, Risk
from rebalancer_app.views.settings import SessionList, Settings, SignInWays
from rebalancer_app.views.shares import PortfolioShares, ReceivedShares
from rebalancer_app.views.widgets import missing

ROUTES = [
    ft.Route(
        path="/",
        component=Home,
        children=[
            ft.Route(path="portfolios/new", component=NewPortfolio),
            ft.Route(
                path="portfolios/:portfolio",
                component=PortfolioDetail,
                children=[
                    ft.Route(path="rebalance", component=Rebalance),
                    ft.Route(
                        path="proposals/:proposal",
                        component=ProposalDetail,
                        children=[ft.Route(path="fills", component=RecordFills)],
                    ),
                    ft.Route(path="deposit", component=Deposit),
                    ft.Route(path="withdraw", component=Withdraw),
                    ft.Route(path="trade", component=RecordTrade),
                    ft.Route(
                        path="planned",
                        component=PlannedFlows,
                        children=[ft.Route(path=":flow", component=EditFlow)],
                    ),
                    ft.Route(path="model", component=FollowModel),
                    ft.Route(path="alerts", component=PortfolioAlerts),
                    ft.Route(path="import", component=ImportStatement),
                    ft.Route(path="imports", component=StatementImports),
                    ft.Route(path="activity", component=PortfolioActivity),
                    ft.Route(path="shares", component=PortfolioShares),
                    ft.Route(path="targets", component=EditTargets),
                    ft.Route(path="holdings/:symbol", component=HoldingDetail),
                    ft.Route(path="performance", component=PortfolioPerformance),
                    ft.Route(path="future", component=LookAhead),
                    ft.Route(path="goals", component=EditGoals),
                    ft.Route(
                        path="gains",
                        component=PortfolioGains,
                        children=[ft.Route(path="rules", component=EditGainRules)],
                    ),
                ],
            ),
            ft.Route(path="activity", component=Activity),
            ft.Route(
                path="settings",
                component=Settings,
                children=[
                    ft.Route(path="sessions", component=SessionList),
                    ft.Route(path="sign-in", component=SignInWays),
                    ft.Route(path="events", component=Events),
                    ft.Route(path="password", component=Password),
                    ft.Route(path="email", component=EmailAddress),
                    ft.Route(path="data", component=YourData),
                    ft.Route(path="notices", component=NoticeSettings),
                    ft.Route(path="automation", component=AutomationSwitch),
                ],
            ),
            ft.Route(path="notices", component=NoticeList),
            ft.Route(path="shares", component=ReceivedShares),
            ft.Route(
                path="models",
                component=Models,
                children=[ft.Route(path=":model", component=ModelDetailScreen)],
            ),
            ft.Route(path="confirm", component=Confirm),
            ft.Route(
                path="market",
                component=Market,
                children=[ft.Route(path=":symbol", component=AssetDetail)],
            ),
            ft.Route(
                path="backtests",
                component=Backtests,
                children=[ft.Route(path=":job", component=BacktestDetail)],
            ),
            ft.Route(
                path="risk",
                component=Risk,
                children=[ft.Route(path="questions", component=Questions)],
            ),
        ],
    ),
]


@ft.component
def NotFound() -> ft.Control:
    """Show that no screen belongs to the route; the router makes a view of it."""
    app = use_app()
    return ft.SafeArea(ft.Container(ft.Column(missing(app)), bgcolor=app.colors.ground))


@ft.component
def Root(state: AppState) -> ft.Control:
    """Show the screen of the current route."""
    use_unread_count(state)

    def screen() -> ft.Control:
        if state.device is not None and not state.signed_in:
            return SignIn(state.device)
        return ft.Router(ROUTES, not_found=NotFound, manage_views=True)

    return Current(state, screen)


def main(page: ft.Page) -> None:
    """Start the app on a device: it shows the sign-in first."""
    has_lock = not page.web and page.platform is not ft.PagePlatform.LINUX
    device = Device(platform_secrets(), platform_owner(has_lock))
    start(page, Client("http://localhost"), device=device)


def start(
    page: ft.Page,
    client: Client,
    preferred: str = "",
    device: Device | None = None,
    *,
    language: str = "",
) -> AppState:
    """Show the app in a window.

    Args:
        page: The window.
        client: The connection of the person.
        preferred: Language tag that the browser prefers; empty: that of the device.
        device: Signs the person in, outside of a browser.
        language: Of the texts; empty: that of the preferred tag.
    """
    locale = page.locale_configuration.current_locale if page.locale_configuration else None
    own = "-".join(filter(None, (locale.language_code, locale.country_code))) if locale else ""
    region = preferred or own or "en-GB"
    state = AppState(
        client,
        language=language or region[:2],
        region=region,
        is_dark=page.platform_brightness is ft.Brightness.DARK,
        width=page.width or 390,
        device=device,
        signed_in=device is None,
    )

    def follow_brightness(_: object) -> None:
        if state.appearance == "system":
            state.is_dark = page.platform_brightness is ft.Brightness.DARK

    def follow_size(event: ft.PageResizeEvent) -> None:
        state.width = event.width

    page.title = state.texts("app.name")
    if not page.web:  # a browser has them already
        page.fonts = {
            theme.FONT: "fonts/Inter-Regular.otf",
            theme.STRONG_FONT: "fonts/Inter-SemiBold.otf",
        }
    page.theme = _material(theme.LIGHT, ft.Brightness.LIGHT)
    page.dark_theme = _material(theme.DARK, ft.Brightness.DARK)
    page.theme_mode = ft.ThemeMode.SYSTEM
    page.on_platform_brightness_change = follow_brightness
    page.on_resize = follow_size
    page.render_views(Root, state)
    page.run_task(load, page, state)
    return state


def _material(colors: theme.Colors, brightness: ft.Brightness) -> ft.Theme:
    """Return the colours for Flutter's own controls."""

    def label(color: str) -> ft.TextStyle:
        return ft.TextStyle(
            size=theme.SIZES["note"], color=color, font_family=theme.FONT, letter_spacing=-0.2
        )

    return ft.Theme(
        font_family=theme.FONT,
        navigation_bar_theme=ft.NavigationBarTheme(
            label_text_style={
                ft.ControlState.SELECTED: label(colors.text),
                ft.ControlState.DEFAULT: label(colors.quiet),
            }
        ),
        color_scheme=ft.ColorScheme(
            primary=colors.accent,
            on_primary=colors.on_accent,
            secondary=colors.accent,
            secondary_container=colors.band,
            on_secondary_container=colors.text,
            surface=colors.surface,
            on_surface=colors.text,
            on_surface_variant=colors.quiet,
            outline=colors.line,
            error=colors.loss,
        ),
    )
